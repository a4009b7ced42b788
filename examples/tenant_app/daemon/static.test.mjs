import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { createServer, get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createFrontendServer } from "./static.mjs";

let parent, backend, frontend, base;

before(async () => {
  parent = await mkdtemp(join(tmpdir(), "frontend-"));
  const root = join(parent, "root");
  await mkdir(join(root, "assets"), { recursive: true });
  await writeFile(join(root, "index.html"), "<p>page</p>");
  await writeFile(join(root, "assets", "app-1a2b.js"), "code");
  await writeFile(join(parent, "secret"), "outside");
  backend = createServer(async (request, response) => {
    const chunks = await request.toArray();
    response.setHeader("x-served-by", "backend");
    response.end(`${request.method} ${request.url} ${Buffer.concat(chunks)} ${request.headers["x-forwarded-for"]}`);
  }).listen(0, "127.0.0.1");
  await once(backend, "listening");
  frontend = createFrontendServer({ root, backend: `http://127.0.0.1:${backend.address().port}` }).listen(0, "127.0.0.1");
  await once(frontend, "listening");
  base = `http://127.0.0.1:${frontend.address().port}`;
});

after(async () => {
  frontend.close();
  backend.closeAllConnections();
  backend.close();
  await rm(parent, { recursive: true });
});

test("pages of the frontend's router get the page, fresh every time", async () => {
  for (const path of ["/", "/settings/storage", "/notes"]) {
    const response = await fetch(base + path);
    assert.equal(await response.text(), "<p>page</p>");
    assert.equal(response.headers.get("cache-control"), "no-cache");
  }
});

test("hashed assets may be kept for ever", async () => {
  const response = await fetch(`${base}/assets/app-1a2b.js`);
  assert.equal(await response.text(), "code");
  assert.match(response.headers.get("cache-control"), /immutable/);
});

test("nothing outside the root is handed out", async () => {
  for (const path of ["/%2e%2e/secret", "/..%2fsecret", "/assets/%2e%2e%2f%2e%2e%2fsecret", "/%ff"]) {
    assert.equal(await (await fetch(base + path)).text(), "<p>page</p>");
  }
});

test("the backend's paths are passed on with body and client address", async () => {
  const response = await fetch(`${base}/api/notes?limit=1`, { method: "POST", body: "hello" });
  assert.equal(response.headers.get("x-served-by"), "backend");
  assert.equal(await response.text(), "POST /api/notes?limit=1 hello 127.0.0.1");
});

test("who asks for a WebSocket gets the ordinary answer and does not wait for ever", async () => {
  backend.on("upgrade", (_request, socket) => socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"));
  const headers = { connection: "Upgrade", upgrade: "websocket" };
  const [response] = await once(get(`${base}/api/live`, { headers, signal: AbortSignal.timeout(2_000) }), "response");
  assert.equal((await response.toArray()).join(""), "GET /api/live  127.0.0.1");
});

test("a backend that is away is a clear 502", async () => {
  const alone = createFrontendServer({ root: parent, backend: "http://127.0.0.1:1" }).listen(0, "127.0.0.1");
  await once(alone, "listening");
  const response = await fetch(`http://127.0.0.1:${alone.address().port}/health/ready`);
  assert.equal(response.status, 502);
  assert.equal((await response.json()).error.code, "bad_gateway");
  alone.close();
});
