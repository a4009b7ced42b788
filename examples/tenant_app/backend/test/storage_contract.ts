import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { buffer, text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { StoredFileMissing, type StorageDriver } from "../src/storage/driver.js";
import { seededContent } from "../src/seeding.js";
import { Proxy } from "./proxy.js";

export const MIB = 1024 * 1024;

/** What one request may take where it is to fail, and where it is to succeed on however busy a host. */
export const SHORT_MS = 2_000;
export const LONG_MS = 30_000;

export interface Place {
  storage: StorageDriver;
  /** Everything that is there, finished or not, by its key. */
  everything(): Promise<string[]>;
}

export interface DistantPlace extends Place {
  address: string;
  /** The same place by another way, with less patience. */
  by(address: string): StorageDriver;
}

/** Pieces of no round size, as the network brings them. */
export function* inPieces(content: Buffer, size = 60_007): Generator<Buffer> {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size);
}

/** A file that stops after so many bytes until it is told how to go on. */
export function halfWay(content: Buffer, stopAt: number): { file: Readable; reached: Promise<void>; goOn(): void; breakOff(error: Error): void } {
  const signals = new EventEmitter();
  const reached = once(signals, "reached").then(() => {});
  const told = once(signals, "go on");
  // Of no use to a file that was destroyed before it came so far.
  told.catch(() => {});
  async function* pieces(): AsyncGenerator<Buffer> {
    yield* inPieces(content.subarray(0, stopAt));
    signals.emit("reached");
    await told;
    yield* inPieces(content.subarray(stopAt));
  }
  return { file: Readable.from(pieces()), reached, goOn: () => signals.emit("go on"), breakOff: (error) => signals.emit("error", error) };
}

export async function digestOf(content: Readable): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(content, hash);
  return hash.digest("hex");
}

export function digest(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

/** What UploadService relies on, whichever driver it has. */
export function keepsTheContract(place: () => Promise<Place>): void {
  test("what is put can be got until it is deleted", async () => {
    const { storage } = await place();
    await storage.put("tenant/file", Readable.from(["hello ", "world"]));
    assert.equal(await text(await storage.get("tenant/file")), "hello world");
    await storage.delete("tenant/file");
    await storage.delete("tenant/file");
    await assert.rejects(storage.get("tenant/file"), StoredFileMissing);
  });

  test("files of every size arrive whole: none, one part exactly, and several with a rest", async () => {
    const { storage, everything } = await place();
    for (const size of [0, 5 * MIB, 10 * MIB, 12 * MIB + 1]) {
      const content = seededContent(`a file of ${size}`, size);
      await storage.put("tenant/file", Readable.from(inPieces(content)));
      assert.equal(await digestOf(await storage.get("tenant/file")), digest(content), `${size} bytes`);
    }
    await storage.delete("tenant/file");
    assert.deepEqual(await everything(), []);
  });

  test("nobody reads half a file: it is not there until it is whole, and an earlier one stays until then", async () => {
    const { storage } = await place();
    const content = seededContent("a file that takes its time", 12 * MIB);
    const first = halfWay(content, 11 * MIB);
    const put = storage.put("tenant/slow", first.file);
    await first.reached;
    await assert.rejects(storage.get("tenant/slow"), StoredFileMissing);
    first.goOn();
    await put;
    const other = seededContent("another file that takes its time", 12 * MIB);
    const second = halfWay(other, 11 * MIB);
    const again = storage.put("tenant/slow", second.file);
    await second.reached;
    assert.equal(await digestOf(await storage.get("tenant/slow")), digest(content));
    second.goOn();
    await again;
    assert.equal(await digestOf(await storage.get("tenant/slow")), digest(other));
    await storage.delete("tenant/slow");
  });

  for (const stopAt of [1_000, 11 * MIB]) {
    test(`a put that breaks off after ${stopAt} bytes leaves nothing behind and says why`, async () => {
      const { storage, everything } = await place();
      const { file, reached, breakOff } = halfWay(seededContent("a file that never ends", 12 * MIB), stopAt);
      const put = storage.put("tenant/broken", file);
      await reached;
      breakOff(new Error("the client went away"));
      await assert.rejects(put, /^Error: the client went away$/);
      await assert.rejects(storage.get("tenant/broken"), StoredFileMissing);
      assert.deepEqual(await everything(), []);
    });
  }

  test("the check passes where files can be written, and leaves nothing", async () => {
    const { storage, everything } = await place();
    await storage.check();
    assert.deepEqual(await everything(), []);
  });
}

/** Every use of the storage fails with these words, and in time. */
export async function assertRefused(storage: StorageDriver, words: RegExp): Promise<void> {
  const uses: [string, () => Promise<unknown>][] = [
    ["put", () => storage.put("tenant/file", Readable.from(["hello"]))],
    ["get", () => storage.get("tenant/file")],
    ["delete", () => storage.delete("tenant/file")],
    ["check", () => storage.check()],
  ];
  for (const [use, attempt] of uses) await assertRejectsInTime(attempt(), words, SHORT_MS, use);
}

async function assertRejectsInTime(attempt: Promise<unknown>, words: RegExp, limitMs: number, what: string): Promise<void> {
  const started = Date.now();
  await assert.rejects(attempt, words, what);
  const taken = Date.now() - started;
  assert.ok(taken < limitMs + 5_000, `${what} took ${taken} ms`);
}

/** What has to hold besides where the storage is a server. */
export function bearsAnAbsence(place: () => Promise<DistantPlace>): void {
  async function proxied({ address, by }: DistantPlace): Promise<{ proxy: Proxy; storage: StorageDriver }> {
    const proxy = await Proxy.before(address);
    return { proxy, storage: by(new URL(proxy.url).origin) };
  }

  test("a storage that is away is an error in time, and is used again as soon as it is back", async () => {
    const { proxy, storage } = await proxied(await place());
    await storage.check();
    proxy.set("refuse");
    await assertRefused(storage, /the connection broke \((ECONNRESET|EPIPE)\)/);
    proxy.set("pass");
    await storage.check();
    proxy.set("hang");
    await assertRefused(storage, /no answer within (2000|1500) ms/);
    proxy.set("pass");
    await storage.check();
    proxy.close();
    await assertRefused(storage, /nothing listens there \(ECONNREFUSED\)/);
  });

  for (const [mode, words] of [["refuse", /the connection broke/], ["hang", /no answer within/]] as const) {
    test(`a storage that goes away in the middle of an upload (${mode}) is an error in time, and nobody sees the file`, async () => {
      const distant = await place();
      const { proxy, storage } = await proxied(distant);
      const { file, reached, goOn } = halfWay(seededContent("cut", 12 * MIB), 7 * MIB);
      const put = storage.put("tenant/cut", file);
      await reached;
      proxy.set(mode);
      goOn();
      // What is broken off is aborted too, and that is one more request that gets no answer.
      await assertRejectsInTime(put, words, 2 * SHORT_MS, "the upload");
      assert.equal(file.destroyed, true);
      await assert.rejects(distant.storage.get("tenant/cut"), StoredFileMissing);
      proxy.close();
    });
  }

  for (const [mode, words] of [["hang", /fell silent in the middle of a file/], ["refuse", /the connection broke|aborted/]] as const) {
    test(`a storage that goes away in the middle of a file (${mode}) ends the reading in time and does not pass for its end`, async () => {
      const distant = await place();
      await distant.storage.put("tenant/long", Readable.from([seededContent("long", 12 * MIB)]));
      const { proxy, storage } = await proxied(distant);
      const content = await storage.get("tenant/long");
      proxy.set(mode);
      await assertRejectsInTime(buffer(content), words, SHORT_MS, "the reading");
      proxy.close();
      await distant.storage.delete("tenant/long");
    });
  }

  test("a reader that takes its time is not cut, and however many there are, the check gets through", async () => {
    const { storage, address, by } = await place();
    const content = seededContent("long", 12 * MIB);
    await storage.put("tenant/long", Readable.from([content]));
    const readers = [await by(address).get("tenant/long")];
    while (readers.length < 60) readers.push(await storage.get("tenant/long"));
    await storage.check();
    await sleep(SHORT_MS);
    assert.equal(await digestOf(readers[0]!), digest(content));
    for (const reader of readers) reader.destroy();
    await storage.delete("tenant/long");
  });
}
