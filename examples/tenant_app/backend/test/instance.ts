import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import { pino } from "pino";
import { buildApp } from "../src/app.js";
import { noRevocation } from "../src/auth/revocation.js";
import { readServerConfig } from "../src/config.js";
import { openDatabase, type Database } from "../src/database.js";
import { EnvironmentReader } from "../src/environment.js";
import { Readiness } from "../src/readiness.js";
import { StorageSelector } from "../src/storage/selector.js";

export interface Instance {
  app: FastifyInstance;
  base: string;
  database: Database;
  storage: StorageSelector;
  readiness: Readiness;
}

export async function startInstance(environment: Record<string, string>): Promise<Instance> {
  const config = readServerConfig(new EnvironmentReader({ JWT_SECRET: "x".repeat(32), ...environment }));
  const logger = pino({ level: "silent" });
  const database = openDatabase(config.database, () => {});
  const storage = new StorageSelector(config.storage, database);
  const readiness = new Readiness({ database: database.probe, storage: () => storage.current().check() }, undefined);
  const app = await buildApp({ config, logger, database, storage, readiness, revocation: noRevocation });
  await app.listen({ host: "127.0.0.1", port: 0 });
  return { app, base: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`, database, storage, readiness };
}

export async function stopInstance({ app, database }: Instance): Promise<void> {
  await app.close();
  await database.close();
}
