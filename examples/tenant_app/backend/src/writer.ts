import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { isDatabaseUnavailable } from "./errors.js";
import { describe } from "./readiness.js";

const CONNECT_MS = 5_000;
const ASK_AGAIN_MS = 1_000;

/** An address may name several servers as libpq's do, `host1:5432,host2:5432`; the driver takes one. */
export function addressesOf(url: string): string[] {
  const [, before = "", hosts = "", after = ""] = /^(postgres(?:ql)?:\/\/(?:[^@/]*@)?)([^/?]*)(.*)$/.exec(url) ?? [];
  return hosts.split(",").map((host) => before + host + after);
}

/**
 * A connection to the one server that takes writes. While there is none, as during a failover, it asks again until the time is up. Of two
 * it takes neither: one of them is about to be undone.
 */
export async function connectToWriter(url: string, limitMs: number): Promise<pg.Client> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const answers = await Promise.allSettled(addressesOf(url).map(connectIfWriter));
    const writers = answers.flatMap((answer) => (answer.status === "fulfilled" && answer.value !== undefined ? [answer.value] : []));
    const [writer] = writers;
    if (writer !== undefined && writers.length === 1) return writer;
    await Promise.all(writers.map((client) => client.end()));

    const faults = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason as unknown] : []));
    const reason = [
      ...(writers.length > 1 ? [`${writers.length} servers take writes; wait until one of them is a standby again`] : []),
      ...faults.map(describe),
    ].join("; ");
    const hopeless = faults.length === answers.length && !faults.some(maySucceedLater);
    if (hopeless || performance.now() + ASK_AGAIN_MS >= deadline) throw new Error(reason || "every server answers, and none takes writes");
    await sleep(ASK_AGAIN_MS);
  }
}

async function connectIfWriter(address: string): Promise<pg.Client | undefined> {
  const client = new pg.Client({ connectionString: address, connectionTimeoutMillis: CONNECT_MS });
  // A connection that breaks while nothing runs on it: the next query says so.
  client.on("error", () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ read_only: string }>("SELECT current_setting('transaction_read_only') AS read_only");
    if (rows[0]?.read_only === "off") return client;
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
  await client.end();
  return undefined;
}

/** A wrong password or database does not mend itself. */
function maySucceedLater(fault: unknown): boolean {
  return isDatabaseUnavailable(fault) && !/^(28|3D)/.test(String((fault as { code?: unknown }).code));
}
