import { PrismaPg } from "@prisma/adapter-pg";
import { readReplicas } from "@prisma/extension-read-replicas";
import pg from "pg";
import type { DatabaseConfig } from "./config.js";
import { PrismaClient } from "./generated/client.js";

export interface Database {
  /** Reads go to the replica when there is one, writes to the primary. A replica may lag: use `primary` to read what was just written. */
  readonly client: PrismaClient;
  readonly primary: PrismaClient;
  readonly pools: ReadonlyMap<string, pg.Pool>;
  /** Rejects with the reason when the database cannot take reads and writes within the limit. */
  probe(): Promise<void>;
  close(): Promise<void>;
}

/** How long the readiness check waits for the database: below the two seconds within which /health/ready must answer. */
const PROBE_TIMEOUT_MS = 1_500;

/** Opens nothing yet: connections are made on first use, so an instance starts, and says that it is not ready, while the database is away. */
export function openDatabase(config: DatabaseConfig, onIdleError: (error: Error) => void): Database {
  const open = (connectionString: string, overrides: pg.PoolConfig = {}): pg.Pool => {
    const pool = new pg.Pool({
      connectionString,
      max: config.poolSize,
      connectionTimeoutMillis: config.connectTimeoutMs,
      // A server that lost its power closes no connection: only a limit on our side ends the wait.
      query_timeout: config.queryTimeoutMs,
      keepAlive: true,
      ...overrides,
    });
    pool.on("error", onIdleError);
    return pool;
  };
  // The probes have a connection of their own: a busy pool must not make a healthy instance look broken.
  const openProbe = (url: string): pg.Pool =>
    open(url, { max: 1, connectionTimeoutMillis: Math.min(config.connectTimeoutMs, PROBE_TIMEOUT_MS), query_timeout: PROBE_TIMEOUT_MS });

  const pools = new Map([["primary", open(config.url)]]);
  const probes = new Map([["primary", openProbe(config.url)]]);
  if (config.replicaUrl !== undefined) {
    pools.set("replica", open(config.replicaUrl));
    probes.set("replica", openProbe(config.replicaUrl));
  }

  const clientOn = (pool: pg.Pool): PrismaClient => new PrismaClient({ adapter: new PrismaPg(pool), errorFormat: "minimal" });
  const primary = clientOn(pools.get("primary")!);
  const replicaPool = pools.get("replica");
  const client =
    replicaPool === undefined
      ? primary
      : // The extension changes where queries run, not what they look like; its own type hides the models.
        (primary.$extends(readReplicas({ replicas: [clientOn(replicaPool)] })) as unknown as PrismaClient);

  const probeOne = async (name: string, pool: pg.Pool): Promise<void> => {
    const { rows } = await pool.query<{ read_only: string }>("SELECT current_setting('transaction_read_only') AS read_only");
    if (name === "primary" && rows[0]?.read_only === "on") throw new Error("the database for writes is read-only");
  };

  return {
    client,
    primary,
    pools,
    probe: async () => {
      await Promise.all([...probes].map(([name, pool]) => probeOne(name, pool)));
    },
    close: async () => {
      await Promise.all([...pools.values(), ...probes.values()].map((pool) => pool.end()));
    },
  };
}
