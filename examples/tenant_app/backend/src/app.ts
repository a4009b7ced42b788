import { randomUUID } from "node:crypto";
import multipart from "@fastify/multipart";
import Fastify, { LogController, type FastifyError, type FastifyInstance } from "fastify";
import type { Logger } from "pino";
import { PermissionStore } from "./auth/permissions.js";
import { registerAuth } from "./auth/plugin.js";
import type { RevocationList } from "./auth/revocation.js";
import type { ServerConfig } from "./config.js";
import type { Database } from "./database.js";
import { AppError, isConflict, isDatabaseUnavailable, UNAVAILABLE_TEXT } from "./errors.js";
import { registerMetrics } from "./metrics.js";
import { READ_AFTER, stampOf, wroteRecently } from "./read_after.js";
import type { Readiness } from "./readiness.js";
import { authRoutes } from "./routes/auth.js";
import { healthRoutes } from "./routes/health.js";
import { liveRoutes } from "./routes/live.js";
import { noteRoutes } from "./routes/notes.js";
import { settingRoutes } from "./routes/settings.js";
import { uploadRoutes } from "./routes/uploads.js";
import type { Session } from "./session.js";
import type { StorageSelector } from "./storage/selector.js";
import { UploadService } from "./storage/uploads.js";

declare module "fastify" {
  interface FastifyRequest {
    /** The database as this request's caller has to see it, for as long as the request may take. */
    database: Session;
  }
}

export interface AppParts {
  config: ServerConfig;
  logger: Logger;
  database: Database;
  storage: StorageSelector;
  readiness: Readiness;
  revocation: RevocationList;
}

/** Printable and short: what clients send as a request id ends in logs. */
const REQUEST_ID = /^[A-Za-z0-9._-]{8,128}$/;

export async function buildApp({ config, logger, database, storage, readiness, revocation }: AppParts): Promise<FastifyInstance> {
  const app = Fastify({
    loggerInstance: logger as FastifyInstance["log"],
    trustProxy: config.trustedProxies.length > 0 ? config.trustedProxies : false,
    // One line a request instead of two: the hook below writes it.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "requestId" }),
    // An unknown property is more likely a mistake of the caller than something to drop silently.
    ajv: { customOptions: { removeAdditional: false } },
    genReqId: ({ headers }) => {
      const given = headers["x-request-id"];
      return typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUID();
    },
    // A request on an open connection is still served while the instance drains.
    return503OnClosing: false,
  });

  app.addHook("onRequest", async (request, reply) => {
    reply.headers({ "x-served-by": config.instanceName, "x-request-id": request.id });
    // Proxies keep connections open; told so, they leave before the door is shut.
    if (readiness.draining) reply.header("connection", "close");
  });
  app.decorateRequest("database");
  app.addHook("onRequest", async (request) => {
    request.database = database.begin(wroteRecently(request.headers[READ_AFTER], config.database.replicaLagMs, Date.now()));
  });
  app.addHook("onSend", async (request, reply) => {
    if (request.database.wrote) reply.header(READ_AFTER, stampOf(Date.now()));
  });
  app.addHook("onResponse", async (request, reply) => {
    const { method, url, ip } = request;
    const line = {
      method, ip, path: url.split("?", 1)[0], route: request.routeOptions.url, status: reply.statusCode,
      milliseconds: Math.round(reply.elapsedTime * 10) / 10, tenantId: (request.user as { tenantId?: string } | null)?.tenantId,
    };
    if (request.routeOptions.config.quiet === true) request.log.debug(line, "request");
    else request.log.info(line, "request");
  });

  app.setErrorHandler<FastifyError>(async (error, request, reply) => {
    const answer = toAnswer(error);
    if (request.raw.readableAborted) request.log.info("the client went away");
    else if (answer.statusCode >= 500) request.log.error({ err: error }, answer.code);
    return reply.code(answer.statusCode).send({ error: { code: answer.code, message: answer.message, requestId: request.id } });
  });
  app.setNotFoundHandler(async () => {
    throw new AppError(404, "not_found", "There is no such address.");
  });

  const registry = registerMetrics(app, database);
  const permissions = new PermissionStore();
  await registerAuth(app, { secret: config.jwtSecret, ttlSeconds: config.jwtTtlSeconds, permissions, revocation });
  // The parser would cut a file that is too long; UploadService refuses it instead.
  await app.register(multipart, { limits: { fileSize: Infinity, files: 1, fields: 8 } });

  await liveRoutes(app, config.instanceName);
  healthRoutes(app, { readiness, registry });
  authRoutes(app, { permissions, revocation, ttlSeconds: config.jwtTtlSeconds });
  noteRoutes(app);
  settingRoutes(app, storage);
  uploadRoutes(app, new UploadService(storage, config.uploadMaxBytes));
  return app;
}

/** What the client is told: the details of a fault of ours stay in the log. */
function toAnswer(error: FastifyError | AppError): { statusCode: number; code: string; message: string } {
  if (error instanceof AppError) return error;
  if (isDatabaseUnavailable(error) || isConflict(error)) {
    return { statusCode: 503, code: "database_unavailable", message: UNAVAILABLE_TEXT };
  }
  const { statusCode = 500, message } = error;
  if (statusCode >= 400 && statusCode < 500) return { statusCode, code: statusCode === 413 ? "too_large" : "bad_request", message };
  return { statusCode: 500, code: "internal", message: "Something went wrong on our side." };
}
