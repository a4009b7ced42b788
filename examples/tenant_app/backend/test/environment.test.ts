import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readMigrateConfig, readServerConfig } from "../src/config.js";
import { EnvironmentReader, type Environment } from "../src/environment.js";
import { AzureBlobStorage } from "../src/storage/azure_blob.js";

const COMPLETE = {
  DATABASE_URL: "postgresql://app:hunter2hunter2@db/app",
  JWT_SECRET: "a secret that is long enough for HS256",
  STORAGE_LOCAL_PATH: "/srv/uploads",
};

const SIGNED = "BlobEndpoint=https://account.blob.core.windows.net;SharedAccessSignature=sv=2024-11-04&sig=hunter2hunter2";

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

test("each driver wants its own variables, and names them", () => {
  const { STORAGE_LOCAL_PATH: _, ...rest } = COMPLETE;
  const namesOf = (environment: Environment): string[] => faultsOf({ ...rest, ...environment }).map((fault) => fault.split(":", 1)[0]!);
  assert.deepEqual(namesOf({}), ["STORAGE_LOCAL_PATH"]);
  // At AWS a host may have a role instead of a key; half a key is a mistake everywhere.
  assert.deepEqual(namesOf({ STORAGE_DRIVER: "s3", STORAGE_S3_BUCKET: "uploads" }), []);
  assert.deepEqual(namesOf({ STORAGE_DRIVER: "s3", STORAGE_S3_ACCESS_KEY_ID: "AKIAEXAMPLE" }), ["STORAGE_S3_BUCKET", "STORAGE_S3_SECRET_ACCESS_KEY"]);
  assert.deepEqual(namesOf({ STORAGE_DRIVER: "s3", STORAGE_S3_BUCKET: "uploads", STORAGE_S3_ENDPOINT: "https://s3.example" }), [
    "STORAGE_S3_ACCESS_KEY_ID", "STORAGE_S3_SECRET_ACCESS_KEY",
  ]);
  assert.deepEqual(namesOf({ STORAGE_DRIVER: "azure_blob" }), ["STORAGE_AZURE_CONTAINER", "STORAGE_AZURE_CONNECTION_STRING"]);
  assert.deepEqual(namesOf({ STORAGE_DRIVER: "ftp", STORAGE_REQUEST_TIMEOUT_MS: "0" }), ["STORAGE_DRIVER", "STORAGE_LOCAL_PATH", "STORAGE_REQUEST_TIMEOUT_MS"]);
  // The one that is not meant yet is looked at as well: an owner may choose it while the instance runs.
  assert.deepEqual(namesOf({ STORAGE_LOCAL_PATH: "/srv/uploads", STORAGE_S3_BUCKET: "Uploads", STORAGE_AZURE_CONTAINER: "up--loads" }), [
    "STORAGE_S3_BUCKET", "STORAGE_AZURE_CONTAINER", "STORAGE_AZURE_CONNECTION_STRING",
  ]);
});

test("keys of a storage come from files too, and show in no fault", () => {
  const folder = mkdtempSync(join(tmpdir(), "secret-"));
  writeFileSync(join(folder, "id"), "AKIAEXAMPLE\n");
  writeFileSync(join(folder, "secret"), "hunter2hunter2\n");
  const environment = {
    ...COMPLETE, STORAGE_S3_BUCKET: "uploads", STORAGE_S3_ENDPOINT: "https://s3.example:9000/",
    STORAGE_S3_ACCESS_KEY_ID_FILE: join(folder, "id"), STORAGE_S3_SECRET_ACCESS_KEY_FILE: join(folder, "secret"),
  };
  const reader = new EnvironmentReader(environment);
  assert.deepEqual(readServerConfig(reader).storage.s3, {
    bucket: "uploads", endpoint: "https://s3.example:9000", region: "us-east-1",
    credentials: { accessKeyId: "AKIAEXAMPLE", secretAccessKey: "hunter2hunter2" }, linkSeconds: 0,
  });
  assert.deepEqual(reader.faults, []);
  // Both shapes that Azure shows are taken as they are by its own kit.
  for (const whole of [SIGNED, "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=aHVudGVyMg==;EndpointSuffix=core.windows.net"]) {
    assert.deepEqual(faultsOf({ ...environment, STORAGE_AZURE_CONTAINER: "uploads", STORAGE_AZURE_CONNECTION_STRING: whole }), []);
    assert.match(new AzureBlobStorage({ connectionString: whole, container: "uploads" }, 1_000).location, /^https:\/\/account\..*\/uploads$/);
  }
  for (const [name, value] of [
    ["STORAGE_S3_ENDPOINT", "https://AKIAEXAMPLE:hunter2hunter2@s3.example"],
    ["STORAGE_AZURE_CONNECTION_STRING", "AccountKey=hunter2hunter2"],
    ["STORAGE_AZURE_CONNECTION_STRING", "BlobEndpoint=https://account.example;sig=hunter2hunter2"],
    ["STORAGE_AZURE_CONNECTION_STRING", "BlobEndpoint=account.example;SharedAccessSignature=hunter2hunter2"],
    ["STORAGE_AZURE_CONNECTION_STRING", "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=hunter2hunter2"],
  ] as const) {
    const faults = faultsOf({ ...environment, STORAGE_AZURE_CONTAINER: "uploads", STORAGE_AZURE_CONNECTION_STRING: SIGNED, [name]: value });
    assert.equal(faults.length, 1);
    assert.match(faults[0]!, new RegExp(`^${name}: `));
    assert.doesNotMatch(faults[0]!, /hunter2/);
  }
  for (const value of ["s3.example", "ftp://s3.example", "https://s3.example/bucket"]) {
    assert.match(faultsOf({ ...environment, STORAGE_S3_ENDPOINT: value }).join(), /^STORAGE_S3_ENDPOINT: ".*" is not accepted; set http/);
  }
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
