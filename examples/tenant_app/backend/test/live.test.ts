import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pino } from "pino";
import { WebSocket } from "ws";
import { drain } from "../src/drain.js";
import { startInstance, stopInstance, type Instance } from "./instance.js";

describe("a live connection", () => {
  let environment: Record<string, string>;
  let instance: Instance;

  before(async () => {
    const root = await mkdtemp(join(tmpdir(), "uploads-"));
    // A signature is all that a token needs: no database is asked.
    environment = { DATABASE_URL: "postgresql://nobody@127.0.0.1:1/none", STORAGE_LOCAL_PATH: root, INSTANCE_NAME: "test-1" };
    instance = await startInstance(environment);
  });
  after(() => stopInstance(instance));

  function tokenOf({ app }: Instance, expiresIn = 60): string {
    return app.jwt.sign({ sub: "user", tenantId: "tenant", role: "viewer", jti: "token" }, { expiresIn });
  }

  async function connect({ base }: Instance): Promise<WebSocket> {
    const socket = new WebSocket(`${base.replace("http", "ws")}/api/live`);
    await once(socket, "open");
    return socket;
  }

  async function admitted(to: Instance, expiresIn?: number): Promise<WebSocket> {
    const socket = await connect(to);
    assert.deepEqual(await say(socket, JSON.stringify({ token: tokenOf(to, expiresIn) })), { instance: "test-1" });
    return socket;
  }

  async function say(socket: WebSocket, text: string): Promise<unknown> {
    const answered = once(socket, "message");
    socket.send(text);
    return JSON.parse(String((await answered)[0]));
  }

  async function closedBy(socket: WebSocket): Promise<{ code: number; reason: string }> {
    const [code, reason] = await once(socket, "close");
    return { code, reason: String(reason) };
  }

  test("each text comes back with the name of the instance, in order", async () => {
    const socket = await admitted(instance);
    const answers: unknown[] = [];
    socket.on("message", (data) => answers.push(JSON.parse(String(data))));
    const texts = ["first", "", '{"token": "not looked at any more"}', "zuletzt: ünï"];
    for (const text of texts) socket.send(text);
    while (answers.length < texts.length) await once(socket, "message");
    assert.deepEqual(answers, texts.map((echo) => ({ instance: "test-1", echo })));
    socket.close();
  });

  test("what is sent before the token was looked at is answered after it", async () => {
    const socket = await connect(instance);
    const answers: unknown[] = [];
    socket.on("message", (data) => answers.push(JSON.parse(String(data))));
    socket.send(JSON.stringify({ token: tokenOf(instance) }));
    socket.send("at once");
    while (answers.length < 2) await once(socket, "message");
    assert.deepEqual(answers, [{ instance: "test-1" }, { instance: "test-1", echo: "at once" }]);
    socket.close();
  });

  for (const first of ["hello", "null", "{}", '{"token": 1}', '{"token": "a.b.c"}']) {
    test(`a first message that is no token is refused: ${first}`, async () => {
      const socket = await connect(instance);
      socket.on("message", () => assert.fail("it was answered"));
      socket.send(first);
      socket.send("let me in all the same");
      assert.deepEqual(await closedBy(socket), { code: 4401, reason: "A valid access token is needed." });
    });
  }

  test("who shows no token is not kept", async () => {
    const socket = await connect(instance);
    assert.deepEqual(await closedBy(socket), { code: 4401, reason: "No token came." });
  });

  test("a connection ends with its token", async (context) => {
    const socket = await admitted(instance, 60);
    context.mock.timers.enable({ apis: ["Date"], now: Date.now() + 61_000 });
    socket.send("still there?");
    assert.deepEqual(await closedBy(socket), { code: 4401, reason: "The access token has expired." });
  });

  test("binary and long messages are refused", async () => {
    const binary = await admitted(instance);
    binary.send(Buffer.from("bytes"));
    assert.equal((await closedBy(binary)).code, 1003);
    const long = await admitted(instance);
    long.send("x".repeat(16_385));
    assert.equal((await closedBy(long)).code, 1009);
  });

  test("a request that is no WebSocket finds nothing there", async () => {
    assert.equal((await fetch(`${instance.base}/api/live`)).status, 404);
  });

  test("while draining it works on, then it is told that the instance leaves", async () => {
    const leaving = await startInstance(environment);
    const socket = await admitted(leaving);
    const silent = await admitted(leaving);
    // One that lost its power: nobody reads what it is told.
    silent.pause();
    const started = performance.now();
    const drained = drain(
      { server: leaving.app.server, startDraining: () => leaving.readiness.startDraining(), close: () => leaving.app.close() },
      { delayMs: 300, timeoutMs: 10_000 },
      pino({ level: "silent" }),
    );
    assert.deepEqual(await say(socket, "during the delay"), { instance: "test-1", echo: "during the delay" });
    const another = await admitted(leaving);
    const ends = await Promise.all([closedBy(socket), closedBy(another)]);
    assert.ok(performance.now() - started >= 290);
    for (const end of ends) assert.deepEqual(end, { code: 1001, reason: "This instance is leaving." });
    await drained;
    assert.ok(performance.now() - started < 5_000);
    await leaving.database.close();
  });
});
