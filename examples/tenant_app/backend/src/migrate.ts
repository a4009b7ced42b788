import { fileURLToPath } from "node:url";
import pg from "pg";
import { readMigrateConfig } from "./config.js";
import { readConfigOrExit } from "./environment.js";
import { applyMigrations, readMigrations } from "./migrations.js";

const { url } = readConfigOrExit(readMigrateConfig);
const migrations = await readMigrations(fileURLToPath(new URL("../prisma/migrations", import.meta.url)));
const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
try {
  await client.connect();
  let applied = 0;
  await applyMigrations(client, migrations, (name) => {
    applied += 1;
    console.log(`applied ${name}`);
  });
  // The last line is for automation: it tells whether anything changed.
  console.log(`migrations: ${applied} applied, ${migrations.length - applied} already there`);
} catch (error) {
  console.error(error instanceof AggregateError ? error.errors.join("; ") : (error as Error).message);
  process.exitCode = 1;
} finally {
  await client.end();
}
