import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { StoredFileMissing, type StorageDriver } from "./driver.js";

/** Files below one directory: a local disk, or a share that every instance mounts at the same path. */
export class LocalStorage implements StorageDriver {
  constructor(readonly location: string) {}

  async put(key: string, content: Readable): Promise<void> {
    const target = join(this.location, key);
    const directory = dirname(target);
    // Beside the target, because a rename is atomic only within one file system.
    const temporary = join(directory, `.${randomUUID()}.part`);
    try {
      await mkdir(directory, { recursive: true });
      await pipeline(content, createWriteStream(temporary, { flags: "wx", flush: true }));
      await rename(temporary, target);
      await syncDirectory(directory);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async get(key: string): Promise<Readable> {
    try {
      const file = await open(join(this.location, key));
      return file.createReadStream();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") throw new StoredFileMissing(key, { cause: error });
      throw error;
    }
  }

  async delete(key: string): Promise<void> {
    await rm(join(this.location, key), { force: true });
  }

  async check(): Promise<void> {
    const probe = join(this.location, `.probe-${randomUUID()}`);
    const token = randomUUID();
    try {
      await writeFile(probe, token, { flag: "wx", flush: true });
      if ((await readFile(probe, "utf8")) !== token) throw new Error("the probe file did not read back as it was written");
    } finally {
      await rm(probe, { force: true });
    }
  }
}

/** Without this a power loss may forget the new name although the bytes are on disk. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
