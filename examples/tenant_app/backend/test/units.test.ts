import assert from "node:assert/strict";
import { test } from "node:test";
import { hashPassword, verifyNothing, verifyPassword } from "../src/auth/password.js";
import { TtlCache } from "../src/cache.js";
import { isDatabaseUnavailable } from "../src/errors.js";
import { pendingMigrations } from "../src/migrations.js";
import { toPage } from "../src/routes/paging.js";
import { seededContent, seededId } from "../src/seeding.js";
import { uuidv7 } from "../src/uuid.js";

test("a password is verified against its own hash only", async () => {
  const hash = await hashPassword("correct horse");
  assert.equal(await verifyPassword("correct horse", hash), true);
  assert.equal(await verifyPassword("wrong horse", hash), false);
  assert.equal(await verifyNothing("correct horse"), false);
});

test("the cache loads once for callers at the same time, again after its time, and forgets failures", async () => {
  let now = 0;
  let loads = 0;
  const cache = new TtlCache<number>(1_000, () => now);
  const load = async (): Promise<number> => (loads += 1);
  assert.deepEqual(await Promise.all([cache.get("a", load), cache.get("a", load)]), [1, 1]);
  now = 1_000;
  assert.equal(await cache.get("a", load), 2);
  await assert.rejects(cache.get("b", () => Promise.reject(new Error("away"))));
  assert.equal(await cache.get("b", load), 3);
});

test("faults of the database are told from faults of the query", () => {
  for (const code of ["57P01", "08006", "08P01", "53300", "25006", "ECONNREFUSED", "P1001", "P2024"]) {
    assert.equal(isDatabaseUnavailable(Object.assign(new Error(), { code })), true, code);
  }
  assert.equal(isDatabaseUnavailable(new Error("outer", { cause: new Error("Query read timeout") })), true);
  for (const code of ["23505", "42P01", "P2002", "P2025"]) {
    assert.equal(isDatabaseUnavailable(Object.assign(new Error(), { code })), false, code);
  }
});

test("migrations: only what is missing is pending, and a changed or half-done one is refused", () => {
  const first = { name: "1_a", sql: "", checksum: "aa" };
  const second = { name: "2_b", sql: "", checksum: "bb" };
  const done = { migration_name: "1_a", checksum: "aa", finished_at: new Date() };
  assert.deepEqual(pendingMigrations([first, second], [done]), [second]);
  assert.deepEqual(pendingMigrations([first], [done, { ...done, migration_name: "9_newer" }]), []);
  assert.throws(() => pendingMigrations([first], [{ ...done, checksum: "zz" }]), /other contents/);
  assert.throws(() => pendingMigrations([first], [{ ...done, finished_at: null }]), /never finished/);
});

test("a page knows whether there is a next one", () => {
  const rows = [{ id: "c" }, { id: "b" }, { id: "a" }];
  const present = ({ id }: { id: string }): string => id;
  assert.deepEqual(toPage(rows, 2, present), { items: ["c", "b"], nextCursor: "b" });
  assert.deepEqual(toPage(rows, 3, present), { items: ["c", "b", "a"], nextCursor: null });
});

test("UUIDv7 sorts by time and carries its version and variant", () => {
  const [earlier, later] = [uuidv7(1_000), uuidv7(1_001)];
  assert.ok(earlier < later);
  assert.match(earlier, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("seeded data is the same on every run and differs from name to name", () => {
  assert.equal(seededId("acme"), seededId("acme"));
  assert.notEqual(seededId("acme"), seededId("globex"));
  assert.deepEqual(seededContent("a", 100), seededContent("a", 100));
  assert.equal(seededContent("a", 100).length, 100);
  assert.notDeepEqual(seededContent("a", 100), seededContent("b", 100));
});
