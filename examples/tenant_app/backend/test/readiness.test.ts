import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Readiness } from "../src/readiness.js";

const fine = async (): Promise<void> => {};

test("an instance is ready when all checks pass, and says why when it is not", async () => {
  let broken = false;
  let now = 0;
  const database = async (): Promise<void> => {
    if (broken) throw new Error("connection refused");
  };
  const readiness = new Readiness({ database, storage: fine }, undefined, 1_800, () => now);
  assert.equal((await readiness.verdict()).ready, true);
  broken = true;
  now += 1_000;
  const verdict = await readiness.verdict();
  assert.deepEqual(verdict.reasons, ["database: connection refused"]);
  assert.equal(verdict.checks["storage"]?.ok, true);
});

test("checks run at most once a second, however many ask", async () => {
  let runs = 0;
  let now = 0;
  const readiness = new Readiness({ database: async () => void (runs += 1) }, undefined, 1_800, () => now);
  await Promise.all(Array.from({ length: 50 }, () => readiness.verdict()));
  now = 999;
  await readiness.verdict();
  assert.equal(runs, 1);
  now = 1_000;
  await readiness.verdict();
  assert.equal(runs, 2);
});

test("a check that hangs counts as failed in time and is not started twice", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let runs = 0;
  let now = 0;
  const hang = (): Promise<void> => {
    runs += 1;
    return new Promise(() => {});
  };
  const readiness = new Readiness({ storage: hang }, undefined, 3_000, () => now);
  for (; now <= 2_000; now += 1_000) {
    const verdict = readiness.verdict();
    t.mock.timers.tick(3_000);
    assert.deepEqual((await verdict).reasons, ["storage: no answer within 3000 ms"]);
  }
  assert.equal(runs, 1);
});

test("draining and the operator's file take effect at once, whatever is cached", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "ready-")), "drained");
  const readiness = new Readiness({ database: fine }, file, 1_800, () => 0);
  assert.equal((await readiness.verdict()).ready, true);
  writeFileSync(file, "");
  assert.deepEqual((await readiness.verdict()).reasons, ["drained by operator"]);
  rmSync(file);
  assert.equal((await readiness.verdict()).ready, true);
  readiness.startDraining();
  assert.match((await readiness.verdict()).reasons[0] ?? "", /^draining/);
});
