import { createHash } from "node:crypto";
import { pipeline, Transform, type Readable } from "node:stream";
import { createOnce } from "../create_once.js";
import { AppError, notFound } from "../errors.js";
import type { Upload } from "../generated/client.js";
import type { Session } from "../session.js";
import { uuidv7 } from "../uuid.js";
import { StoredFileMissing, type Link, type Presentation } from "./driver.js";
import type { StorageSelector } from "./selector.js";

export interface NewUpload {
  tenantId: string;
  createdBy: string;
  name: string;
  contentType: string;
  content: Readable;
}

/** Keeps rows and files in step: a row exists only for a file that is whole, so a crash leaves at worst a file that nobody lists. */
export class UploadService {
  constructor(
    private readonly storage: StorageSelector,
    private readonly maxBytes: number,
  ) {}

  async create(database: Session, { content, ...upload }: NewUpload): Promise<Upload> {
    const id = uuidv7();
    const meter = new Meter(this.maxBytes);
    // The callback has nothing to do: a failure on either side ends both, and `put` rejects with it.
    pipeline(content, meter, () => {});
    await inStorage(this.storage.current().put(keyOf(upload.tenantId, id), meter));
    // When this fails the file stays: after a timeout nobody knows whether the row was written, and a row without its file would be worse.
    const row = { ...upload, id, size: meter.size, sha256: meter.sha256() };
    database.restartClock();
    return createOnce(database, {
      create: (primary) => primary.upload.create({ data: row }),
      find: (primary) => primary.upload.findUnique({ where: { id } }),
    });
  }

  async find(database: Session, tenantId: string, id: string): Promise<Upload> {
    const upload = await database.find((client) => client.upload.findFirst({ where: { id, tenantId } }));
    if (upload === null) throw notFound("upload");
    return upload;
  }

  async open(upload: Upload): Promise<Readable> {
    try {
      return await inStorage(this.storage.current().get(keyOf(upload.tenantId, upload.id)));
    } catch (error) {
      if (!(error instanceof StoredFileMissing)) throw error;
      // Another instance may well see it, so this is "not here" (a balancer tries the next one) rather than "gone".
      throw new AppError(503, "file_unavailable", "The file is not in this instance's storage.", { cause: error });
    }
  }

  /** Only where the storage has such links: a client that gets none reads the file here. */
  async link(upload: Upload, presentation: Presentation): Promise<Link> {
    const storage = this.storage.current();
    const link = await inStorage(Promise.resolve(storage.link?.(keyOf(upload.tenantId, upload.id), presentation)));
    if (link === undefined) throw new AppError(404, "no_links", "This storage has no links of its own; read the file without one.");
    return link;
  }

  async delete(database: Session, tenantId: string, id: string): Promise<void> {
    const { count } = await database.write((primary) => primary.upload.deleteMany({ where: { id, tenantId } }));
    if (count === 0) throw notFound("upload");
    await inStorage(this.storage.current().delete(keyOf(tenantId, id)));
  }
}

export function keyOf(tenantId: string, uploadId: string): string {
  return `${tenantId}/${uploadId}`;
}

/** A fault of the storage is "not now" for the client, and must not be taken for one of the database. */
async function inStorage<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (cause instanceof AppError || cause instanceof StoredFileMissing) throw cause;
    throw new AppError(503, "storage_unavailable", "The storage cannot be used right now; try again.", { cause });
  }
}

/** Measures what flows through it, and breaks off what is too long before anybody could take it for a whole file. */
class Meter extends Transform {
  size = 0;
  private readonly hash = createHash("sha256");

  constructor(private readonly maxBytes: number) {
    super();
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: (error: Error | null, chunk?: Buffer) => void): void {
    this.size += chunk.length;
    if (this.size > this.maxBytes) {
      done(new AppError(413, "too_large", `A file has at most ${this.maxBytes} bytes.`));
      return;
    }
    this.hash.update(chunk);
    done(null, chunk);
  }

  sha256(): string {
    return this.hash.digest("hex");
  }
}
