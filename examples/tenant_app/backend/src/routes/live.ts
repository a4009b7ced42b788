import websocket from "@fastify/websocket";
import type { FastifyInstance } from "fastify";
import type { WebSocket } from "ws";
import { AppError } from "../errors.js";

/** Why a connection was closed: the first three are the protocol's, the last one is 401 in the range that is left to applications. */
const GOING_AWAY = 1001;
const TEXT_ONLY = 1003;
const INTERNAL = 1011;
const UNAUTHENTICATED = 4401;

const MESSAGE_MAX_BYTES = 16_384;

/** Who opens a connection has this long to show a token. */
const TOKEN_MS = 5_000;

/** Who is told that the instance leaves has this long to answer, or is gone for all we know. */
const GOODBYE_MS = 2_000;

/** A balancer that lost its power closes nothing: after this long a silent connection is looked at. */
const KEEPALIVE_MS = 30_000;

/**
 * A connection that stays open. The first message is the token, because a browser sets no header on a WebSocket and an
 * address is written to logs; each later one comes back with the name of the instance.
 */
export async function liveRoutes(app: FastifyInstance, instance: string): Promise<void> {
  await app.register(websocket, {
    options: { maxPayload: MESSAGE_MAX_BYTES },
    // The client's fault, and its connection is being closed already; if it is ours, it is not.
    errorHandler: (error, socket, request) => {
      request.log.info({ err: error }, "live: the connection failed");
      socket.close(INTERNAL);
    },
    // The balancers have had DRAIN_DELAY_MS to notice, so clients that come back find another instance.
    preClose: (done) => {
      const { clients } = app.websocketServer;
      for (const client of clients) client.close(GOING_AWAY, "This instance is leaving.");
      setTimeout(() => clients.forEach((client) => client.terminate()), GOODBYE_MS).unref();
      app.websocketServer.close();
      done();
    },
  });

  app.get("/api/live", { websocket: true }, (socket, request) => {
    request.raw.socket.setKeepAlive(true, KEEPALIVE_MS);
    const opened = performance.now();
    const tooLate = setTimeout(() => socket.close(UNAUTHENTICATED, "No token came."), TOKEN_MS);
    let identity: ReturnType<typeof app.identify> | undefined;

    socket.on("message", async (data, isBinary) => {
      clearTimeout(tooLate);
      if (isBinary) {
        socket.close(TEXT_ONLY, "Only text is understood.");
        return;
      }
      const text = String(data);
      const answer = identity === undefined ? { instance } : { instance, echo: text };
      identity ??= app.identify(tokenIn(text));
      try {
        request.user = await identity;
        // A connection ends with its token, though it could stay open for longer.
        if (request.user.exp * 1_000 <= Date.now()) throw new AppError(401, "unauthenticated", "The access token has expired.");
        socket.send(JSON.stringify(answer));
      } catch (error) {
        refuse(socket, error);
      }
    });
    socket.on("close", (code) => {
      clearTimeout(tooLate);
      const { tenantId } = (request.user as { tenantId?: string } | null) ?? {};
      request.log.info({ path: "/api/live", ip: request.ip, code, milliseconds: Math.round(performance.now() - opened), tenantId }, "live: closed");
    });
  });
}

function tokenIn(text: string): string {
  try {
    return String((JSON.parse(text) as { token?: unknown } | null)?.token);
  } catch {
    return "";
  }
}

function refuse(socket: WebSocket, error: unknown): void {
  const known = error instanceof AppError && error.statusCode === 401;
  socket.close(known ? UNAUTHENTICATED : INTERNAL, known ? error.message : "Something went wrong on our side.");
}
