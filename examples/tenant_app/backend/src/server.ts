import { pino } from "pino";
import { buildApp } from "./app.js";
import { noRevocation } from "./auth/revocation.js";
import { readServerConfig } from "./config.js";
import { openDatabase } from "./database.js";
import { drain } from "./drain.js";
import { readConfigOrExit } from "./environment.js";
import { Readiness } from "./readiness.js";
import { StorageSelector } from "./storage/selector.js";

/** Longer than a hundred logins take on a busy host; a database that is away delays the start by no more. */
const WARM_UP_MS = 3_000;

const config = readConfigOrExit(readServerConfig);
const logger = pino({
  level: config.logLevel,
  base: { instance: config.instanceName },
  timestamp: pino.stdTimeFunctions.isoTime,
  formatters: { level: (level) => ({ level }) },
});

const database = openDatabase(config.database, (error) => logger.warn({ err: error }, "an idle database connection broke"));
const storage = await StorageSelector.open(config.storage, database);
const readiness = new Readiness(
  { ...database.checks, storage: () => storage.current().check() },
  config.readyOverrideFile,
  config.readyCheckTimeoutMs,
);
const app = await buildApp({ config, logger, database, storage, readiness, revocation: noRevocation });

// Before the first request: otherwise a file could be looked for in the wrong place.
await storage.start((error) => logger.warn({ err: error }, "the storage setting could not be read, keeping the last one"));
// Nobody has asked yet, and the balancers send no one before the port answers.
await database.warmUp(WARM_UP_MS);
try {
  await app.listen({ host: config.host, port: config.port });
} catch (error) {
  logger.fatal({ err: error }, `cannot listen on ${config.host}:${config.port}`);
  process.exit(1);
}

let stopping = false;
async function stop(signal: NodeJS.Signals): Promise<void> {
  if (stopping) {
    logger.info({ signal }, "drain: already under way");
    return;
  }
  stopping = true;
  const target = { server: app.server, startDraining: () => readiness.startDraining(), close: () => app.close() };
  await drain(target, { delayMs: config.drainDelayMs, timeoutMs: config.drainTimeoutMs }, logger);
  storage.stop();
  await database.close();
  logger.info("drain: pools closed, leaving");
  process.exit(0);
}
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
