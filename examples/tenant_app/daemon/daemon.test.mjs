import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { answersHttp, answersPostgres, Child, readConfig } from "./daemon.mjs";

const IDLE = [process.execPath, "-e", "setInterval(() => {}, 1000)"];
const DEAF = [process.execPath, "-e", "process.on('SIGTERM', () => {}); console.log('up'); setInterval(() => {}, 1000)"];

function childThatIs(healthy, command = IDLE) {
  const service = { name: "test", command, stopSignal: "SIGTERM", check: async () => healthy() };
  return new Child(service, 200);
}

test("a child that answers is left alone", async () => {
  const child = childThatIs(() => true);
  child.start();
  const { pid } = child;
  await child.lookAfter();
  assert.equal(child.pid, pid);
  await child.stop();
});

test("a child that stays silent is restarted three times and then given up", async () => {
  const child = childThatIs(() => false);
  child.start();
  const pids = new Set([child.pid]);
  for (let beat = 0; beat < 5; beat += 1) {
    await child.lookAfter();
    pids.add(child.pid);
  }
  assert.equal(pids.size, 4);
  assert.equal(child.givenUp, true);
  await child.stop();
});

test("a passed check makes the count of restarts start anew", async () => {
  let healthy = false;
  const child = childThatIs(() => healthy);
  child.start();
  for (let round = 0; round < 3; round += 1) {
    healthy = false;
    await child.lookAfter();
    await child.lookAfter();
    healthy = true;
    await child.lookAfter();
  }
  assert.equal(child.givenUp, false);
  await child.stop();
});

test("a child that ignores the signal is killed", { timeout: 5_000 }, async () => {
  const child = childThatIs(() => true, DEAF);
  child.start();
  await new Promise((resolve) => setTimeout(resolve, 300));
  await child.stop();
  assert.throws(() => process.kill(child.pid, 0), { code: "ESRCH" });
});

test("a program that does not exist is reported, not thrown", async () => {
  const child = childThatIs(() => false, ["/nonexistent/program"]);
  child.start();
  await child.lookAfter();
  await child.stop();
});

test("PostgreSQL is alive when it answers an SSLRequest with its letter", async () => {
  let answer = "S";
  const server = createServer((socket) => socket.once("data", () => socket.end(answer))).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `tcp://127.0.0.1:${server.address().port}`;
  assert.equal(await answersPostgres(url), true);
  answer = "H";
  assert.equal(await answersPostgres(url), false);
  server.close();
  await once(server, "close");
  assert.equal(await answersPostgres(url), false);
});

test("a refused connection is a failed check", async () => {
  assert.equal(await answersHttp("http://127.0.0.1:1/"), false);
});

test("every fault of the configuration is named at once", () => {
  assert.throws(
    () => readConfig({ DAEMON_CHECK_SECONDS: "soon", DAEMON_BACKEND_COMMAND: "true" }),
    (error) => ["DAEMON_CHECK_SECONDS", "DAEMON_POSTGRES_COMMAND", "DAEMON_FRONTEND_COMMAND"].every((name) => error.message.includes(name)),
  );
});
