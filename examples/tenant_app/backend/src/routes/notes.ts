import type { FastifyInstance } from "fastify";
import type { Database } from "../database.js";
import { isMissingRecord, isUniqueViolation, notFound } from "../errors.js";
import type { Note } from "../generated/client.js";
import { idParams, pageOf, pageQuery, toPage, type IdParams, type PageQuery } from "./paging.js";

interface NoteBody {
  title: string;
  body: string;
}

const noteBody = {
  type: "object",
  required: ["title"],
  additionalProperties: false,
  properties: {
    title: { type: "string", minLength: 1, maxLength: 200 },
    body: { type: "string", maxLength: 20_000, default: "" },
  },
} as const;

const idempotencyHeader = {
  type: "object",
  properties: { "idempotency-key": { type: "string", minLength: 8, maxLength: 128 } },
} as const;

export function noteRoutes(app: FastifyInstance, database: Database): void {
  const read = { onRequest: app.require("notes:read") };
  const write = { onRequest: app.require("notes:write") };

  app.get<{ Querystring: PageQuery }>("/api/notes", { ...read, schema: { querystring: pageQuery } }, async ({ user, query }) => {
    const rows = await database.client.note.findMany(pageOf(user.tenantId, query));
    return toPage(rows, query.limit, present);
  });

  app.post<{ Body: NoteBody; Headers: { "idempotency-key"?: string } }>(
    "/api/notes",
    { ...write, schema: { body: noteBody, headers: idempotencyHeader } },
    async ({ user, body, headers }, reply) => {
      const { tenantId, sub: createdBy } = user;
      const idempotencyKey = headers["idempotency-key"] ?? null;
      try {
        const note = await database.primary.note.create({ data: { ...body, tenantId, createdBy, idempotencyKey } });
        return await reply.code(201).send(present(note));
      } catch (error) {
        if (idempotencyKey === null || !isUniqueViolation(error)) throw error;
        // The request came before, perhaps over another instance: the caller gets what the first one made.
        const first = await database.primary.note.findFirst({ where: { tenantId, idempotencyKey } });
        if (first === null) throw error;
        return reply.code(200).send(present(first));
      }
    },
  );

  app.get<{ Params: IdParams }>("/api/notes/:id", { ...read, schema: { params: idParams } }, async ({ user, params }) => {
    const note = await database.client.note.findFirst({ where: { id: params.id, tenantId: user.tenantId } });
    if (note === null) throw notFound("note");
    return present(note);
  });

  app.put<{ Params: IdParams; Body: NoteBody }>(
    "/api/notes/:id",
    { ...write, schema: { params: idParams, body: noteBody } },
    async ({ user, params, body }) => {
      try {
        return present(await database.primary.note.update({ where: { id: params.id, tenantId: user.tenantId }, data: body }));
      } catch (error) {
        throw isMissingRecord(error) ? notFound("note") : error;
      }
    },
  );

  app.delete<{ Params: IdParams }>("/api/notes/:id", { ...write, schema: { params: idParams } }, async ({ user, params }, reply) => {
    const { count } = await database.primary.note.deleteMany({ where: { id: params.id, tenantId: user.tenantId } });
    if (count === 0) throw notFound("note");
    return reply.code(204).send();
  });
}

function present({ id, title, body, createdBy, createdAt, updatedAt }: Note) {
  return { id, title, body, createdBy, createdAt, updatedAt };
}
