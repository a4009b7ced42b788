import type { FastifyInstance } from "fastify";
import { createOnce } from "../create_once.js";
import { isMissingRecord, notFound } from "../errors.js";
import type { Note } from "../generated/client.js";
import { uuidv7 } from "../uuid.js";
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

export function noteRoutes(app: FastifyInstance): void {
  const read = { onRequest: app.require("notes:read") };
  const write = { onRequest: app.require("notes:write") };

  app.get<{ Querystring: PageQuery }>("/api/notes", { ...read, schema: { querystring: pageQuery } }, async ({ user, query, database }) => {
    const rows = await database.read((client) => client.note.findMany(pageOf(user.tenantId, query)));
    return toPage(rows, query.limit, present);
  });

  app.post<{ Body: NoteBody; Headers: { "idempotency-key"?: string } }>(
    "/api/notes",
    { ...write, schema: { body: noteBody, headers: idempotencyHeader } },
    async ({ user, body, headers, database }, reply) => {
      const { tenantId, sub: createdBy } = user;
      const idempotencyKey = headers["idempotency-key"] ?? null;
      const id = uuidv7();
      const note = await createOnce(database, {
        create: (primary) => primary.note.create({ data: { ...body, id, tenantId, createdBy, idempotencyKey } }),
        find: (primary) => primary.note.findFirst({ where: { tenantId, OR: [{ id }, ...(idempotencyKey === null ? [] : [{ idempotencyKey }])] } }),
      });
      // With another id the request came before, perhaps over another instance: the caller gets what the first one made.
      return reply.code(note.id === id ? 201 : 200).send(present(note));
    },
  );

  app.get<{ Params: IdParams }>("/api/notes/:id", { ...read, schema: { params: idParams } }, async ({ user, params, database }) => {
    const note = await database.find((client) => client.note.findFirst({ where: { id: params.id, tenantId: user.tenantId } }));
    if (note === null) throw notFound("note");
    return present(note);
  });

  app.put<{ Params: IdParams; Body: NoteBody }>(
    "/api/notes/:id",
    { ...write, schema: { params: idParams, body: noteBody } },
    async ({ user, params, body, database }) => {
      try {
        return present(await database.write((primary) => primary.note.update({ where: { id: params.id, tenantId: user.tenantId }, data: body })));
      } catch (error) {
        throw isMissingRecord(error) ? notFound("note") : error;
      }
    },
  );

  app.delete<{ Params: IdParams }>("/api/notes/:id", { ...write, schema: { params: idParams } }, async ({ user, params, database }, reply) => {
    const { count } = await database.write((primary) => primary.note.deleteMany({ where: { id: params.id, tenantId: user.tenantId } }));
    if (count === 0) throw notFound("note");
    return reply.code(204).send();
  });
}

function present({ id, title, body, createdBy, createdAt, updatedAt }: Note) {
  return { id, title, body, createdBy, createdAt, updatedAt };
}
