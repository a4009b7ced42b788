import type { FastifyInstance } from "fastify";
import { AppError } from "../errors.js";
import type { Upload } from "../generated/client.js";
import type { Presentation } from "../storage/driver.js";
import type { UploadService } from "../storage/uploads.js";
import { idParams, pageOf, pageQuery, toPage, type IdParams, type PageQuery } from "./paging.js";

const MAX_NAME_LENGTH = 255;

export function uploadRoutes(app: FastifyInstance, uploads: UploadService): void {
  const read = { onRequest: app.require("uploads:read") };
  const write = { onRequest: app.require("uploads:write") };

  app.get<{ Querystring: PageQuery }>("/api/uploads", { ...read, schema: { querystring: pageQuery } }, async ({ user, query, database }) => {
    const rows = await database.read((client) => client.upload.findMany(pageOf(user.tenantId, query)));
    return toPage(rows, query.limit, present);
  });

  app.post("/api/uploads", write, async (request, reply) => {
    const part = await request.file();
    if (part === undefined) throw new AppError(400, "bad_request", "A multipart body with one file is needed.");
    if (part.filename.length > MAX_NAME_LENGTH) throw new AppError(400, "bad_request", `A file name has at most ${MAX_NAME_LENGTH} characters.`);
    const { tenantId, sub: createdBy } = request.user;
    const upload = await uploads.create(request.database, {
      tenantId, createdBy, name: part.filename || "unnamed", contentType: part.mimetype, content: part.file,
    });
    return reply.code(201).send(present(upload));
  });

  app.get<{ Params: IdParams }>("/api/uploads/:id", { ...read, schema: { params: idParams } }, async (request, reply) => {
    const upload = await uploads.find(request.database, request.user.tenantId, request.params.id);
    const etag = `"${upload.sha256}"`;
    reply.headers({ etag, "cache-control": "private, no-cache" });
    if (request.headers["if-none-match"] === etag) return reply.code(304).send();
    const content = await uploads.open(upload);
    const { contentType, contentDisposition } = presentation(upload);
    reply.headers({
      "content-type": contentType,
      "content-length": upload.size.toString(),
      "content-disposition": contentDisposition,
      "x-content-type-options": "nosniff",
    });
    return reply.send(content);
  });

  app.get<{ Params: IdParams }>("/api/uploads/:id/link", { ...read, schema: { params: idParams } }, async (request, reply) => {
    const upload = await uploads.find(request.database, request.user.tenantId, request.params.id);
    const { url, expiresAt } = await uploads.link(upload, presentation(upload));
    // Whoever has it may read the file: it is kept nowhere on its way.
    return reply.header("cache-control", "no-store").send({ url, expiresAt });
  });

  app.delete<{ Params: IdParams }>("/api/uploads/:id", { ...write, schema: { params: idParams } }, async (request, reply) => {
    await uploads.delete(request.database, request.user.tenantId, request.params.id);
    return reply.code(204).send();
  });
}

function present({ id, name, contentType, size, sha256, createdBy, createdAt }: Upload) {
  return { id, name, contentType, size: Number(size), sha256, createdBy, createdAt };
}

/** Files come from users: they are saved, never shown or run as a page of ours. */
function presentation({ contentType, name }: Upload): Presentation {
  return { contentType, contentDisposition: `attachment; filename*=UTF-8''${encodeRfc5987(name)}` };
}

/** encodeURIComponent leaves four characters that RFC 5987 does not allow in a header's parameter. */
function encodeRfc5987(text: string): string {
  return encodeURIComponent(text).replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
