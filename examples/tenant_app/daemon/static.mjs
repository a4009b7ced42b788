// @ts-check
/**
 * The frontend's server where there is no nginx: hands out the built files and passes requests for the backend on.
 *
 * Environment:
 *   FRONTEND_HOST     address to listen on (default 0.0.0.0)
 *   FRONTEND_PORT     port to listen on    (default 8080)
 *   FRONTEND_ROOT     the built frontend   (default ../frontend beside this file, as in a release)
 *   FRONTEND_BACKEND  the backend          (default http://127.0.0.1:3000)
 */
import { createReadStream, realpathSync } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, request as httpRequest } from "node:http";
import { extname, join, normalize, resolve } from "node:path";
import { pipeline } from "node:stream";
import { fileURLToPath } from "node:url";

const TYPES = new Map([
  [".html", "text/html; charset=utf-8"],
  [".js", "text/javascript; charset=utf-8"],
  [".css", "text/css; charset=utf-8"],
  [".svg", "image/svg+xml"],
]);

/** The page /settings/storage is the frontend's own and its data lives below /api, so /settings is not in this list. */
const BACKEND_PATH = /^\/(api|health|metrics)(\/|\?|$)/;

/** @param {{ root: string, backend: string }} options */
export function createFrontendServer({ root, backend }) {
  return createServer((request, response) => {
    if (BACKEND_PATH.test(request.url ?? "")) passOn(request, response);
    else sendFile(request, response).catch(() => response.destroy());
  });

  /** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
  function passOn(request, response) {
    // It passes no WebSocket on: without the wish for one it gets the backend's ordinary answer, and with it none at all.
    const { connection: _ours, upgrade: _notPassedOn, ...asked } = request.headers;
    const headers = { ...asked, "x-forwarded-for": request.socket.remoteAddress };
    const outgoing = httpRequest(new URL(request.url ?? "/", backend), { method: request.method, headers }, (incoming) => {
      const { connection: _hopByHop, "keep-alive": _alsoHopByHop, ...answer } = incoming.headers;
      response.writeHead(incoming.statusCode ?? 502, answer);
      pipeline(incoming, response, () => {});
    });
    outgoing.on("error", () => {
      if (response.headersSent) return response.destroy();
      response.writeHead(502, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: { code: "bad_gateway", message: "The backend does not answer.", requestId: null } }));
    });
    pipeline(request, outgoing, () => {});
  }

  /** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
  async function sendFile(request, response) {
    if (request.method !== "GET" && request.method !== "HEAD") return void response.writeHead(405, { allow: "GET, HEAD" }).end();
    const path = await existingFile(request.url ?? "/");
    response.writeHead(200, {
      "content-type": TYPES.get(extname(path)) ?? "application/octet-stream",
      // Names below assets/ carry a hash of the contents; the page that names them must always be fresh.
      "cache-control": path.startsWith(join(root, "assets")) ? "public, max-age=31536000, immutable" : "no-cache",
    });
    if (request.method === "HEAD") return void response.end();
    pipeline(createReadStream(path), response, () => {});
  }

  /** A path that is no file belongs to the frontend's own router, so it gets the page. @param {string} url */
  async function existingFile(url) {
    const page = join(root, "index.html");
    try {
      const path = join(root, normalize(decodeURIComponent(new URL(url, "http://localhost").pathname)));
      return (await stat(path)).isFile() ? path : page;
    } catch {
      return page;
    }
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { FRONTEND_HOST = "0.0.0.0", FRONTEND_PORT = "8080", FRONTEND_BACKEND = "http://127.0.0.1:3000" } = process.env;
  const root = resolve(process.env.FRONTEND_ROOT ?? fileURLToPath(new URL("../frontend", import.meta.url)));
  const server = createFrontendServer({ root, backend: FRONTEND_BACKEND });
  server.listen(Number(FRONTEND_PORT), FRONTEND_HOST, () => console.log(`frontend: ${root} on ${FRONTEND_HOST}:${FRONTEND_PORT}`));
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => {
      server.close(() => process.exit(0));
      server.closeIdleConnections();
    });
  }
}
