import assert from "node:assert/strict";
import { mkdtemp, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { StoredFileMissing } from "../src/storage/driver.js";
import { LocalStorage } from "../src/storage/local.js";

async function emptyStorage(): Promise<LocalStorage> {
  return new LocalStorage(await mkdtemp(join(tmpdir(), "storage-")));
}

test("what is put can be got until it is deleted", async () => {
  const storage = await emptyStorage();
  await storage.put("tenant/file", Readable.from(["hello ", "world"]));
  assert.equal(await text(await storage.get("tenant/file")), "hello world");
  await storage.delete("tenant/file");
  await storage.delete("tenant/file");
  await assert.rejects(storage.get("tenant/file"), StoredFileMissing);
});

test("a put that breaks off leaves nothing behind", async () => {
  const storage = await emptyStorage();
  async function* broken(): AsyncGenerator<string> {
    yield "half";
    throw new Error("the client went away");
  }
  await assert.rejects(storage.put("tenant/file", Readable.from(broken())), /went away/);
  assert.deepEqual(await readdir(join(storage.location, "tenant")), []);
});

test("the check passes where files can be written, leaves nothing, and fails elsewhere", async () => {
  const storage = await emptyStorage();
  await storage.check();
  assert.deepEqual(await readdir(storage.location), []);
  await assert.rejects(new LocalStorage("/nonexistent").check(), { code: "ENOENT" });
});
