import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createOnce } from "../src/create_once.js";
import { isConflict, isDatabaseUnavailable, isSurelyUndone } from "../src/errors.js";
import type { PrismaClient } from "../src/generated/client.js";
import { wroteRecently } from "../src/read_after.js";
import { ReplicaGate } from "../src/replica.js";
import { Session, type Detour } from "../src/session.js";

const away = (): Error => Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED", syscall: "connect" });
const brokeOff = (): Error => new Error("Connection terminated unexpectedly");
const refused = (): Error => Object.assign(new Error("cannot execute INSERT in a read-only transaction"), { code: "25006" });
const inTheWay = (): Error => Object.assign(new Error("canceling statement due to conflict with recovery"), { code: "40001" });

type Server = "replica" | "primary";

/** A session whose servers answer what they are told to, in order; the last answer stays. */
function world(options: { replica?: unknown[]; primary?: unknown[]; wroteBefore?: boolean; budgetMs?: number }) {
  const asked: Server[] = [];
  const detours: Detour[] = [];
  const counts = { read: 0, write: 0 };
  const gate = options.replica === undefined ? undefined : new ReplicaGate(async () => {});
  const answers = { replica: [...(options.replica ?? [])], primary: [...(options.primary ?? ["row"])] };
  const session = new Session(
    {
      client: (gate === undefined ? "primary" : "replica") as unknown as PrismaClient,
      primary: "primary" as unknown as PrismaClient,
      gate,
      budgetMs: options.budgetMs ?? 1_000,
      onRead: () => {},
      onDetour: (reason) => detours.push(reason),
      onRetry: (operation) => (counts[operation] += 1),
    },
    options.wroteBefore ?? false,
  );
  const work = async (client: PrismaClient): Promise<unknown> => {
    const server = client as unknown as Server;
    asked.push(server);
    const answer = answers[server].length > 1 ? answers[server].shift() : answers[server][0];
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { session, work, asked, detours, counts, gate };
}

test("a read goes to the replica, and to the primary where there is none", async () => {
  const both = world({ replica: ["row"] });
  assert.equal(await both.session.read(both.work), "row");
  assert.deepEqual(both.asked, ["replica"]);
  const one = world({});
  await one.session.read(one.work);
  assert.deepEqual([one.asked, one.detours], [["primary"], []]);
});

test("who wrote reads from the primary, in this request and in those that say so", async () => {
  const later = world({ replica: ["old"], wroteBefore: true });
  await later.session.read(later.work);
  assert.deepEqual([later.asked, later.detours], [["primary"], ["own_write"]]);
  const now = world({ replica: ["old"] });
  assert.equal(now.session.wrote, false);
  await now.session.write(now.work);
  assert.equal(now.session.wrote, true);
  await now.session.read(now.work);
  assert.deepEqual(now.asked, ["primary", "primary"]);
});

test("what a replica does not have is looked for on the primary, and only there once", async () => {
  const lagging = world({ replica: [null], primary: ["row"] });
  assert.equal(await lagging.session.find(lagging.work), "row");
  assert.deepEqual([lagging.asked, lagging.detours], [["replica", "primary"], ["missing"]]);
  const nowhere = world({ primary: [null] });
  assert.equal(await nowhere.session.find(nowhere.work), null);
  assert.deepEqual(nowhere.asked, ["primary"]);
});

test("a read that fails on the replica goes on at once on the primary, and the next ones do not try", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, work, asked, detours, counts, gate } = world({ replica: [away(), "row"] });
  assert.equal(await session.read(work), "row");
  await session.read(work);
  assert.deepEqual([asked, detours, counts.read], [["replica", "primary", "primary"], ["fault", "away"], 1]);
  assert.equal(gate!.usable, false);
  assert.match((await gate!.check())!, /^away, so the primary is read: connect ECONNREFUSED/);
  context.mock.timers.tick(1_000);
  await Promise.resolve();
  assert.equal(gate!.usable, true);
  await session.read(work);
  assert.equal(asked.at(-1), "replica");
});

test("a query in the way of replay is repeated on the primary, and the replica keeps its good name", async () => {
  const { session, work, asked, gate } = world({ replica: [inTheWay()] });
  await session.read(work);
  assert.deepEqual(asked, ["replica", "primary"]);
  assert.equal(gate!.usable, true);
});

test("with both away a read is repeated until its time is up, and no longer", async () => {
  const { session, work, asked, gate } = world({ replica: [away()], primary: [away()], budgetMs: 500 });
  const started = performance.now();
  await assert.rejects(session.read(work), /ECONNREFUSED/);
  const taken = performance.now() - started;
  assert.ok(taken <= 900, `${taken} ms`);
  assert.ok(asked.length >= 3 && asked.length <= 9, `${asked}`);
  gate!.close();
});

test("a mistake of ours is no fault of the database and is not repeated", async () => {
  const { session, work, asked } = world({ primary: [new TypeError("x is undefined")] });
  await assert.rejects(session.read(work), TypeError);
  await assert.rejects(session.write(work, { harmless: true }), TypeError);
  assert.equal(asked.length, 2);
  assert.equal(session.wrote, false);
});

test("a write is repeated after a fault that left nothing of it", async () => {
  for (const fault of [away, refused, inTheWay]) {
    const { session, work, asked, counts } = world({ primary: [fault(), fault(), "row"] });
    assert.equal(await session.write(work), "row");
    assert.deepEqual([asked.length, counts.write], [3, 2]);
  }
});

test("a write of which nobody knows is repeated only when that is harmless, and counts as written", async () => {
  const plain = world({ primary: [brokeOff(), "row"] });
  await assert.rejects(plain.session.write(plain.work), /terminated/);
  assert.equal(plain.asked.length, 1);
  assert.equal(plain.session.wrote, true);
  const keyed = world({ primary: [brokeOff(), "row"] });
  assert.equal(await keyed.session.write(keyed.work, { harmless: true }), "row");
});

test("a server that says nothing does not keep a request beyond its time", async () => {
  const { session } = world({ budgetMs: 200 });
  const started = performance.now();
  await assert.rejects(session.write(() => sleep(5_000, "late", { ref: false })), { statusCode: 503, code: "database_unavailable" });
  assert.ok(performance.now() - started < 1_500);
  assert.equal(session.wrote, true);
  session.restartClock();
  assert.equal(await session.read(async () => "in time"), "in time");
});

test("a row that is there already is the one that was meant, once a commit after it is safe", async () => {
  const statements: string[] = [];
  const primary = { $executeRaw: async (text: TemplateStringsArray) => statements.push(text.join("?")) } as unknown as PrismaClient;
  const session = new Session(
    { client: primary, primary, gate: undefined, budgetMs: 1_000, onRead: () => {}, onDetour: () => {}, onRetry: () => {} }, false,
  );
  const taken = Object.assign(new Error(), { code: "P2002" });
  let first = true;
  const create = async (): Promise<string> => {
    const fault = first ? brokeOff() : taken;
    first = false;
    throw fault;
  };
  assert.equal(await createOnce(session, { create, find: async () => "mine" }), "mine");
  assert.match(statements.join(), /pg_logical_emit_message\(true/);
  await assert.rejects(createOnce(session, { create, find: async () => null }), { code: "P2002" });
});

test("faults say whether they may pass, and whether something may be left", () => {
  const fault = (code: string, message = ""): Error => Object.assign(new Error(message), { code });
  const undone = [
    fault("57P01"), fault("57P03"), fault("25006"), fault("08001"), fault("28P01"), fault("53300"), fault("P1001"), fault("3D000"), away(),
    new Error("timeout exceeded when trying to connect"),
    fault("08P01", "server login has been failing, try again later (server_login_retry)"), fault("08P01", "query_wait_timeout"),
    new Error("by Prisma", { cause: { kind: "postgres", code: "57P01", originalCode: "57P01" } }),
    Object.assign(new Error("by Prisma"), { code: "P2010", meta: { driverAdapterError: { cause: { originalCode: "25006" } } } }),
  ];
  for (const error of undone) assert.deepEqual([isDatabaseUnavailable(error), isSurelyUndone(error)], [true, true], error.message + JSON.stringify(error));
  const unknown = [
    fault("08006"), fault("08P01", "server conn crashed?"), fault("57P02"), fault("ECONNRESET"), fault("P1017"), fault("P1008"),
    new Error("Query read timeout"), brokeOff(), Object.assign(fault("EHOSTUNREACH"), { syscall: "read" }),
  ];
  for (const error of unknown) assert.deepEqual([isDatabaseUnavailable(error), isSurelyUndone(error)], [true, false], error.message + JSON.stringify(error));
  for (const code of ["40001", "40P01", "P2034"]) assert.deepEqual([isConflict(fault(code)), isSurelyUndone(fault(code))], [true, true]);
  for (const code of ["23505", "P2002", "P2025", "57014"]) assert.deepEqual([isConflict(fault(code)), isSurelyUndone(fault(code))], [false, false]);
});

test("the time of a write counts while it is young, wherever the clocks stand, and nonsense does not", () => {
  const now = 1_800_000_000_000;
  for (const at of [now, now - 9_999, now + 500]) assert.equal(wroteRecently(String(at), 10_000, now), true);
  for (const header of [String(now - 10_000), String(now + 10_000), "", "yesterday", "-1", "1e12", undefined, [String(now)]]) {
    assert.equal(wroteRecently(header, 10_000, now), false, String(header));
  }
});
