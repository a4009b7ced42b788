import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readMigrateConfig, readServerConfig } from "../src/config.js";
import { EnvironmentReader, type Environment } from "../src/environment.js";

const COMPLETE = {
  DATABASE_URL: "postgresql://app:hunter2hunter2@db/app",
  JWT_SECRET: "a secret that is long enough for HS256",
  STORAGE_LOCAL_PATH: "/srv/uploads",
};

function faultsOf(environment: Environment): string[] {
  const reader = new EnvironmentReader(environment);
  readServerConfig(reader);
  return reader.faults;
}

test("three variables are enough", () => {
  assert.deepEqual(faultsOf(COMPLETE), []);
});

test("every fault is reported at once, by the variable's name", () => {
  const faults = faultsOf({ PORT: "http", LOG_LEVEL: "loud", TRUSTED_PROXIES: "10.0.0.0/33, lb1", DRAIN_DELAY_MS: "-1" });
  const names = faults.map((fault) => fault.split(":", 1)[0]);
  assert.deepEqual(names, [
    "PORT", "TRUSTED_PROXIES", "TRUSTED_PROXIES", "LOG_LEVEL", "DATABASE_URL", "STORAGE_LOCAL_PATH", "JWT_SECRET", "DRAIN_DELAY_MS",
  ]);
});

test("a fault shows the value seen, but never a secret's", () => {
  const faults = faultsOf({ ...COMPLETE, PORT: "70000", JWT_SECRET: "tooshort", DATABASE_URL: "mysql://app:hunter2@db/app" }).join("\n");
  assert.match(faults, /PORT: "70000"/);
  assert.match(faults, /JWT_SECRET: a secret of 8 bytes; set at least 32 bytes/);
  assert.doesNotMatch(faults, /tooshort|hunter2/);
});

test("a secret may come from a file, whose last newline does not count", () => {
  const path = join(mkdtempSync(join(tmpdir(), "secret-")), "jwt");
  writeFileSync(path, `${COMPLETE.JWT_SECRET}\n`);
  const { JWT_SECRET: _, ...rest } = COMPLETE;
  const reader = new EnvironmentReader({ ...rest, JWT_SECRET_FILE: path });
  assert.equal(readServerConfig(reader).jwtSecret, COMPLETE.JWT_SECRET);
  assert.deepEqual(reader.faults, []);
});

test("a secret given twice, or in a file that is not there, is refused", () => {
  assert.match(faultsOf({ ...COMPLETE, JWT_SECRET_FILE: "/etc/hostname" }).join(), /^JWT_SECRET: is set, and so is JWT_SECRET_FILE/);
  assert.match(faultsOf({ ...COMPLETE, JWT_SECRET: "", JWT_SECRET_FILE: "/nonexistent" }).join(), /^JWT_SECRET_FILE: .*ENOENT/);
});

test("an empty value counts as unset", () => {
  const reader = new EnvironmentReader({ ...COMPLETE, DATABASE_REPLICA_URL: "", PORT: "" });
  const config = readServerConfig(reader);
  assert.equal(config.database.replicaUrl, undefined);
  assert.equal(config.port, 3000);
});

test("migrations go over DATABASE_URL unless a direct address is given", () => {
  assert.equal(readMigrateConfig(new EnvironmentReader(COMPLETE)).url, COMPLETE.DATABASE_URL);
  const direct = "postgresql://app@primary/app";
  assert.equal(readMigrateConfig(new EnvironmentReader({ DATABASE_DIRECT_URL: direct })).url, direct);
});

test("the time that a request may take and the lag of a replica are read", () => {
  const { database } = readServerConfig(new EnvironmentReader(COMPLETE));
  assert.deepEqual([database.budgetMs, database.replicaLagMs], [2_500, 15_000]);
  assert.match(faultsOf({ ...COMPLETE, DATABASE_BUDGET_MS: "5s", DATABASE_REPLICA_LAG_MS: "-1" }).join("\n"), /^DATABASE_BUDGET_MS: "5s".*\nDATABASE_REPLICA_LAG_MS: "-1"/);
});
