import assert from "node:assert/strict";
import { mkdtemp, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { LocalStorage } from "../src/storage/local.js";
import { keepsTheContract } from "./storage_contract.js";

describe("a directory", () => {
  keepsTheContract(async () => {
    const directory = await mkdtemp(join(tmpdir(), "storage-"));
    const everything = async () => {
      const entries = await readdir(directory, { recursive: true, withFileTypes: true });
      return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    };
    return { storage: new LocalStorage(directory), everything };
  });

  test("the check fails where there is none", async () => {
    await assert.rejects(new LocalStorage("/nonexistent").check(), { code: "ENOENT" });
  });
});
