import type { Readable } from "node:stream";

/** How a browser is to take a file that it fetches from the storage itself. */
export interface Presentation {
  contentType: string;
  contentDisposition: string;
}

/** An address that lets whoever has it read one file until then. */
export interface Link {
  url: string;
  expiresAt: Date;
}

/** Where the bytes of uploads live. Keys are `<tenant id>/<upload id>`; what a driver makes of them is its own affair. */
export interface StorageDriver {
  /** For people: the path or bucket. */
  readonly location: string;
  /** All or nothing: a reader never sees half a file, and a failed put leaves nothing behind. */
  put(key: string, content: Readable): Promise<void>;
  /** Rejects with StoredFileMissing when there is no such file. */
  get(key: string): Promise<Readable>;
  /** A way to the file that passes this application by; nothing where the storage or its configuration has none. */
  link?(key: string, presentation: Presentation): Promise<Link | undefined>;
  /** Deleting what is not there is no fault. */
  delete(key: string): Promise<void>;
  /** Writes a probe, reads it back and removes it; rejects with the reason. */
  check(): Promise<void>;
}

export class StoredFileMissing extends Error {}
