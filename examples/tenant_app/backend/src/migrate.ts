import { fileURLToPath } from "node:url";
import { readMigrateConfig } from "./config.js";
import { readConfigOrExit } from "./environment.js";
import { applyMigrations, readMigrations } from "./migrations.js";
import { describe } from "./readiness.js";
import { connectToWriter } from "./writer.js";

/** Longer than a failover takes. */
const WRITER_MS = 20_000;

const { url } = readConfigOrExit(readMigrateConfig);
try {
  const migrations = await readMigrations(fileURLToPath(new URL("../prisma/migrations", import.meta.url)));
  const client = await connectToWriter(url, WRITER_MS);
  try {
    let applied = 0;
    await applyMigrations(client, migrations, (name) => {
      applied += 1;
      console.log(`applied ${name}`);
    });
    // The last line is for automation: it tells whether anything changed.
    console.log(`migrations: ${applied} applied, ${migrations.length - applied} already there`);
  } finally {
    await client.end();
  }
} catch (error) {
  console.error(describe(error));
  process.exitCode = 1;
}
