import { createHash, randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type pg from "pg";

export interface Migration {
  name: string;
  sql: string;
  checksum: string;
}

export interface AppliedMigration {
  migration_name: string;
  checksum: string;
  finished_at: Date | null;
}

/** The number that `prisma migrate deploy` locks too: whichever tool comes second waits. */
const ADVISORY_LOCK = 72_707_369;

const LOCK_TIMEOUT = "30s";

/** Prisma's own bookkeeping, column by column, so that its tools can take over any time. */
const BOOKKEEPING = `
  CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
    "id" VARCHAR(36) PRIMARY KEY NOT NULL,
    "checksum" VARCHAR(64) NOT NULL,
    "finished_at" TIMESTAMPTZ,
    "migration_name" VARCHAR(255) NOT NULL,
    "logs" TEXT,
    "rolled_back_at" TIMESTAMPTZ,
    "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
    "applied_steps_count" INTEGER NOT NULL DEFAULT 0
  )`;

/** Reads `<directory>/<name>/migration.sql`; names begin with a time, so their order is the order of application. */
export async function readMigrations(directory: string): Promise<Migration[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name).sort();
  return Promise.all(
    names.map(async (name) => {
      const sql = await readFile(join(directory, name, "migration.sql"), "utf8");
      return { name, sql, checksum: createHash("sha256").update(sql).digest("hex") };
    }),
  );
}

/**
 * Which migrations are still to be applied. Refuses a history that does not match the files. Migrations that only the
 * database knows are fine: during a rollback an older release meets the newer schema.
 */
export function pendingMigrations(available: readonly Migration[], applied: readonly AppliedMigration[]): Migration[] {
  const history = new Map(applied.map((row) => [row.migration_name, row]));
  return available.filter(({ name, checksum }) => {
    const row = history.get(name);
    if (row === undefined) return true;
    if (row.finished_at === null) throw new Error(`migration ${name} was begun earlier and never finished; mend it by hand (prisma migrate resolve)`);
    if (row.checksum !== checksum) throw new Error(`migration ${name} was applied with other contents than its file has now; restore the file and write a new migration`);
    return false;
  });
}

/** Applies what is missing, one transaction each. Two hosts may call it at once: one waits. */
export async function applyMigrations(client: pg.Client, available: readonly Migration[], onApplied: (name: string) => void): Promise<void> {
  await client.query(`SET lock_timeout = '${LOCK_TIMEOUT}'`);
  // Held until the connection ends, so a crash cannot leave it behind.
  await client.query("SELECT pg_advisory_lock($1)", [ADVISORY_LOCK]);
  await client.query(BOOKKEEPING);
  const { rows } = await client.query<AppliedMigration>(
    'SELECT migration_name, checksum, finished_at FROM "_prisma_migrations" WHERE rolled_back_at IS NULL',
  );
  for (const migration of pendingMigrations(available, rows)) {
    await applyOne(client, migration);
    onApplied(migration.name);
  }
}

async function applyOne(client: pg.Client, { name, sql, checksum }: Migration): Promise<void> {
  await client.query("BEGIN");
  try {
    await client.query(sql);
    await client.query(
      `INSERT INTO "_prisma_migrations" (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
       VALUES ($1, $2, $3, transaction_timestamp(), clock_timestamp(), 1)`,
      [randomUUID(), checksum, name],
    );
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK");
    throw new Error(`migration ${name} failed and was rolled back: ${(error as Error).message}`, { cause: error });
  }
}
