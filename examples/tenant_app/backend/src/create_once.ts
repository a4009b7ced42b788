import { isUniqueViolation } from "./errors.js";
import type { PrismaClient } from "./generated/client.js";
import type { Session } from "./session.js";

/**
 * Creates a row that has a key of its own, at most once however often it is tried, so that a try may follow one of which nobody knows
 * whether it was kept. Gives the row that is there: its own, or an earlier one with the same key.
 */
export function createOnce<Row>(
  database: Session,
  { create, find }: { create: (primary: PrismaClient) => Promise<Row>; find: (primary: PrismaClient) => Promise<Row | null> },
): Promise<Row> {
  const work = async (primary: PrismaClient): Promise<Row> => {
    try {
      return await create(primary);
    } catch (error) {
      if (!isUniqueViolation(error)) throw error;
      // Someone's wait for the standbys may have been broken off after the row was kept here. A commit after it that waits too
      // says that they have the row, and only then may it be called created.
      await primary.$executeRaw`SELECT pg_logical_emit_message(true, 'tenant_app', '')`;
      const there = await find(primary);
      if (there === null) throw error;
      return there;
    }
  };
  return database.write(work, { harmless: true });
}
