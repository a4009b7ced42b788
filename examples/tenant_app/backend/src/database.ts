import { setTimeout as sleep } from "node:timers/promises";
import { PrismaPg } from "@prisma/adapter-pg";
import { readReplicas } from "@prisma/extension-read-replicas";
import pg from "pg";
import { Counter, Gauge, type Metric } from "prom-client";
import type { DatabaseConfig } from "./config.js";
import { PrismaClient } from "./generated/client.js";
import type { Check } from "./readiness.js";
import { ReplicaGate } from "./replica.js";
import { DETOURS, Session } from "./session.js";

export interface Database {
  /** For one request, or what is like one: a time budget begins. `wroteRecently` keeps its reads on the primary. */
  begin(wroteRecently?: boolean): Session;
  /** Without the session's care: for what has time, and for what must not come from a replica. */
  readonly primary: PrismaClient;
  readonly pools: ReadonlyMap<string, pg.Pool>;
  readonly metrics: readonly Metric[];
  /** `database` fails when no writes are taken within the limit; `replica` is there when there is one, and never fails. */
  readonly checks: Readonly<Record<string, Check>>;
  /** Opens the pools' connections and has the first queries compiled, so that no user waits for that; gives up quietly after the limit. */
  warmUp(limitMs: number): Promise<void>;
  close(): Promise<void>;
}

/** How long the readiness check waits for the database: below READY_CHECK_TIMEOUT_MS's default. */
const PROBE_TIMEOUT_MS = 1_500;

/** Opens nothing yet: connections are made on first use, so an instance starts, and says that it is not ready, while the database is away. */
export function openDatabase(config: DatabaseConfig, onIdleError: (error: Error) => void): Database {
  const open = (connectionString: string, limits: { size?: number; atMostMs?: number } = {}): pg.Pool => {
    const { size = config.poolSize, atMostMs = Infinity } = limits;
    const pool = new pg.Pool({
      connectionString,
      max: size,
      connectionTimeoutMillis: Math.min(config.connectTimeoutMs, atMostMs),
      // A server that lost its power closes no connection: only a limit on our side ends the wait.
      query_timeout: Math.min(config.queryTimeoutMs, atMostMs),
      keepAlive: true,
    });
    pool.on("error", onIdleError);
    return pool;
  };
  // The probes have a connection of their own: a busy pool must not make a healthy instance look broken.
  const openProbe = (url: string): pg.Pool => open(url, { size: 1, atMostMs: PROBE_TIMEOUT_MS });
  const clientOn = (pool: pg.Pool): PrismaClient => new PrismaClient({ adapter: new PrismaPg(pool), errorFormat: "minimal" });

  const pools = new Map([["primary", open(config.url)]]);
  const probes = new Map([["primary", openProbe(config.url)]]);
  const primary = clientOn(pools.get("primary")!);
  let client = primary;
  let gate: ReplicaGate | undefined;
  if (config.replicaUrl !== undefined) {
    // Half of the time at most, so that the primary can still be asked for what a replica owes.
    const pool = open(config.replicaUrl, { atMostMs: Math.ceil(config.budgetMs / 2) });
    const probe = openProbe(config.replicaUrl);
    pools.set("replica", pool);
    probes.set("replica", probe);
    // The extension changes where queries run, not what they look like; its own type hides the models.
    client = primary.$extends(readReplicas({ replicas: [clientOn(pool)] })) as unknown as PrismaClient;
    gate = new ReplicaGate(async () => void (await probe.query("SELECT")));
  }

  const { reads, detours, retries, metrics } = databaseMetrics(gate);
  const parts = {
    client, primary, gate,
    budgetMs: config.budgetMs,
    onRead: (target: string) => reads.inc({ target }),
    onDetour: (reason: string) => detours.inc({ reason }),
    onRetry: (operation: string) => retries.inc({ operation }),
  };

  const takesWrites = async (): Promise<void> => {
    const { rows } = await probes.get("primary")!.query<{ read_only: string }>("SELECT current_setting('transaction_read_only') AS read_only");
    if (rows[0]?.read_only === "on") throw new Error("the database for writes is read-only");
  };

  return {
    begin: (wroteRecently = false) => new Session(parts, wroteRecently),
    primary,
    pools,
    metrics,
    warmUp: async (limitMs) => {
      // As many at once as a pool has connections. Where the database is away it is the readiness that says so.
      const queries = [...new Set([primary, client])].flatMap((each) =>
        Array.from({ length: config.poolSize }, () => each.tenantSetting.findFirst()),
      );
      await Promise.race([Promise.allSettled(queries), sleep(limitMs, undefined, { ref: false })]);
    },
    checks: { database: takesWrites, ...(gate === undefined ? {} : { replica: () => gate.check() }) },
    close: async () => {
      gate?.close();
      await Promise.all([...pools.values(), ...probes.values()].map((pool) => pool.end()));
    },
  };
}

/** Each series is there from the start, so that the first increase shows. */
function databaseMetrics(gate: ReplicaGate | undefined) {
  const registers: [] = [];
  const reads = new Counter({ name: "database_reads_total", help: "Reads answered, by where.", labelNames: ["target"], registers });
  const detours = new Counter({
    name: "database_reads_detoured_total", help: "Reads that went to the primary although there is a replica, by why.",
    labelNames: ["reason"], registers,
  });
  const retries = new Counter({ name: "database_retries_total", help: "Tries beyond the first.", labelNames: ["operation"], registers });
  for (const target of ["primary", "replica"]) reads.inc({ target }, 0);
  for (const reason of DETOURS) detours.inc({ reason }, 0);
  for (const operation of ["read", "write"]) retries.inc({ operation }, 0);
  const metrics: Metric[] = [reads, detours, retries];
  if (gate !== undefined) {
    const usable = new Gauge({
      name: "database_replica_usable", help: "1 while reads may go to the replica.", registers,
      collect() {
        this.set(gate.usable ? 1 : 0);
      },
    });
    metrics.push(usable);
  }
  return { reads, detours, retries, metrics };
}
