import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import type { FastifyInstance } from "fastify";
import pg from "pg";
import { pino } from "pino";
import { buildApp } from "../src/app.js";
import { noRevocation } from "../src/auth/revocation.js";
import { readServerConfig } from "../src/config.js";
import { openDatabase, type Database } from "../src/database.js";
import { EnvironmentReader } from "../src/environment.js";
import { applyMigrations, readMigrations } from "../src/migrations.js";
import { Readiness } from "../src/readiness.js";
import { StorageSelector } from "../src/storage/selector.js";

const MIGRATIONS = fileURLToPath(new URL("../../prisma/migrations", import.meta.url));

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
  const storage = await StorageSelector.open(config.storage, database);
  const readiness = new Readiness({ ...database.checks, storage: () => storage.current().check() }, undefined, 1_800);
  const app = await buildApp({ config, logger, database, storage, readiness, revocation: noRevocation });
  await app.listen({ host: "127.0.0.1", port: 0 });
  return { app, base: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`, database, storage, readiness };
}

export async function stopInstance({ app, database }: Instance): Promise<void> {
  await app.close();
  await database.close();
}

/** The newest schema and no row. Test files share one database, so they run one after another. */
export async function emptyDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await applyMigrations(client, await readMigrations(MIGRATIONS), () => {});
  await client.query("DELETE FROM tenants");
  await client.query("DELETE FROM platform_settings");
  await client.end();
}
