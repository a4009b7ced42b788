import { randomUUID } from "node:crypto";
import { pipeline, Transform, type Readable, type TransformCallback } from "node:stream";

/** What an upload is sent in, and all of it that is held in memory. S3 takes no smaller part but the last, and at most 10,000 of them. */
export const PART_BYTES = 5 * 1024 * 1024;

/** Below READY_CHECK_TIMEOUT_MS's default, so that it can say more than "no answer". */
const CHECK_MS = 1_500;

/** The first try of a request and one more. */
export const TRIES = 2;

/** Gives work a signal that goes off when the time is up, and not later: a body may take longer than its headers. */
export async function within<T>(limitMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), limitMs);
  try {
    return await work(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? new Error(noAnswer(limitMs), { cause: error }) : error;
  } finally {
    clearTimeout(timer);
  }
}

export function noAnswer(limitMs: number): string {
  return `no answer within ${limitMs} ms`;
}

/** What a driver does with the probe of its check. */
export interface ProbeStore {
  /** Gives the version that it made where the storage keeps versions. */
  write(key: string, token: string, signal: AbortSignal): Promise<string | undefined>;
  read(key: string, signal: AbortSignal): Promise<string>;
  /** Removes that very version: otherwise every check would leave one behind. */
  remove(key: string, version: string | undefined, signal: AbortSignal): Promise<void>;
}

/** The check of a driver: a probe is written, read back and removed. */
export async function probe(store: ProbeStore): Promise<void> {
  const key = `.probe/${randomUUID()}`;
  const token = randomUUID();
  await within(CHECK_MS, async (signal) => {
    const version = await store.write(key, token, signal);
    const seen = await store.read(key, signal).finally(() => store.remove(key, version, signal));
    if (seen !== token) throw new Error("the probe file did not read back as it was written");
  });
}

/** The same bytes in pieces of one size, the last one excepted. */
export async function* piecesOf(content: Readable, size: number): AsyncGenerator<Buffer> {
  let chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of content) {
    chunks.push(Buffer.from(chunk));
    length += chunks.at(-1)!.length;
    while (length >= size) {
      const joined = Buffer.concat(chunks);
      yield joined.subarray(0, size);
      chunks = [joined.subarray(size)];
      length -= size;
    }
  }
  if (length > 0) yield Buffer.concat(chunks);
}

/** A body that ends with an error when it is waited for too long. A reader that takes its time costs it nothing. */
export function patient(body: Readable, limitMs: number, explain: (error: unknown) => Error): Readable {
  const watched = new Patience(limitMs);
  body.once("error", (error) => watched.destroy(explain(error)));
  // The callback has nothing to do: a failure on either side ends both, and the reader sees it.
  pipeline(body, watched, () => {});
  return watched;
}

class Patience extends Transform {
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly limitMs: number) {
    super();
  }

  /** Called when the reader wants more than is here: only then does the storage keep it waiting. */
  override _read(size: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.destroy(new Error(`the storage fell silent in the middle of a file: ${noAnswer(this.limitMs)}`)), this.limitMs);
    super._read(size);
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    clearTimeout(this.timer);
    done(null, chunk);
  }

  override _flush(done: TransformCallback): void {
    clearTimeout(this.timer);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.timer);
    super._destroy(error, done);
  }
}

const CONNECTION_FAULTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection broke",
  EPIPE: "the connection broke",
  ENOTFOUND: "its name cannot be resolved",
  EAI_AGAIN: "its name cannot be resolved",
  EHOSTUNREACH: "there is no way to it",
  ENETUNREACH: "there is no way to it",
};

/** What Node says of a server that it cannot talk to, in an operator's words; nothing when it is the server that speaks. */
export function connectionFault(error: unknown): string | undefined {
  const { code, message } = error as { code?: unknown; message?: unknown };
  // A storage's own codes are written LikeThis.
  if (typeof code !== "string" || !/^[A-Z][A-Z0-9_]+$/.test(code)) return undefined;
  return `${CONNECTION_FAULTS[code] ?? message} (${code})`;
}
