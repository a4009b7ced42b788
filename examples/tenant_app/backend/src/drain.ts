import type { Server } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";

export interface Drainable {
  server: Server;
  /** From now on the instance says that it is not ready, and ends each connection after its answer. */
  startDraining(): void;
  /** Stops to accept, ends idle connections and resolves once the last request is answered. */
  close(): Promise<unknown>;
}

/** Leaves without failing a request: first the balancer gets time to notice, then the door is shut, then the rest is finished. */
export async function drain(target: Drainable, limits: { delayMs: number; timeoutMs: number }, logger: Logger): Promise<void> {
  target.startDraining();
  logger.info({ delayMs: limits.delayMs }, "drain: not ready any more, still serving");
  await sleep(limits.delayMs);

  logger.info({ timeoutMs: limits.timeoutMs }, "drain: no new connections, finishing requests in flight");
  const cut = setTimeout(() => {
    logger.warn("drain: time is up, cutting the connections that are left");
    target.server.closeAllConnections();
  }, limits.timeoutMs);
  await target.close();
  clearTimeout(cut);
  logger.info("drain: all requests are finished");
}
