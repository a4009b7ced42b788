import type { Readable } from "node:stream";

/** Where the bytes of uploads live. Keys are `<tenant id>/<upload id>`; what a driver makes of them is its own affair. */
export interface StorageDriver {
  /** For people: the path or bucket. */
  readonly location: string;
  /** All or nothing: a reader never sees half a file, and a failed put leaves nothing behind. */
  put(key: string, content: Readable): Promise<void>;
  /** Rejects with StoredFileMissing when there is no such file. */
  get(key: string): Promise<Readable>;
  /** Deleting what is not there is no fault. */
  delete(key: string): Promise<void>;
  /** Writes a probe, reads it back and removes it; rejects with the reason. */
  check(): Promise<void>;
}

export class StoredFileMissing extends Error {}
