// @ts-check
/**
 * One process that starts everything: PostgreSQL, the backend and the frontend are its children. It looks after each on a
 * fixed beat and restarts what does not answer, up to three times in a row. It is the state the customer comes from, with
 * the weaknesses that the roadmap names: a crash is noticed only at the next beat, and nobody looks after the daemon.
 *
 * Environment:
 *   DAEMON_POSTGRES_COMMAND  DAEMON_BACKEND_COMMAND  DAEMON_FRONTEND_COMMAND
 *       what to run; words are split at spaces, there is no shell and no quoting
 *   DAEMON_POSTGRES_CHECK    tcp://host:port of PostgreSQL       (default tcp://127.0.0.1:5432)
 *   DAEMON_BACKEND_CHECK     address that answers 2xx when alive (default http://127.0.0.1:3000/health/live)
 *   DAEMON_FRONTEND_CHECK    the same for the frontend           (default http://127.0.0.1:8080/)
 *   DAEMON_CHECK_SECONDS     time between two rounds of checks   (default 30)
 *   DAEMON_START_SECONDS     time a child gets to come up before the next is started (default 30)
 *   DAEMON_STOP_SECONDS      time a child gets to stop before it is killed           (default 40)
 * All other variables reach the children as they are.
 */
import { spawn } from "node:child_process";
import { realpathSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const MAX_RESTARTS = 3;
const CHECK_TIMEOUT_MS = 5_000;

/** @typedef {{ name: string, command: string[], stopSignal: NodeJS.Signals, check: () => Promise<boolean> }} Service */

/** @param {string} name @param {string} message @param {object} [details] */
function log(name, message, details = {}) {
  console.log(JSON.stringify({ time: new Date().toISOString(), level: "info", service: name, msg: message, ...details }));
}

/** One child and the count of its restarts. */
export class Child {
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #process;
  #restarts = 0;
  #givenUp = false;

  /** @param {Service} service @param {number} stopMs */
  constructor(service, stopMs) {
    this.service = service;
    this.stopMs = stopMs;
  }

  get pid() {
    return this.#process?.pid;
  }

  get givenUp() {
    return this.#givenUp;
  }

  start() {
    const { name, command } = this.service;
    const [program = "", ...args] = command;
    const child = spawn(program, args, { stdio: "inherit" });
    child.on("error", (error) => log(name, "cannot be started", { reason: error.message }));
    child.on("exit", (code, signal) => log(name, "ended", { pid: child.pid, code, signal }));
    this.#process = child;
    log(name, "started", { pid: child.pid });
  }

  async stop() {
    const child = this.#process;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(this.service.stopSignal);
    const killer = setTimeout(() => child.kill("SIGKILL"), this.stopMs);
    await ended;
    clearTimeout(killer);
  }

  /** One beat: a passed check makes the count start anew, a failed one costs a restart. */
  async lookAfter() {
    if (this.#givenUp) return;
    if (await this.service.check()) {
      this.#restarts = 0;
      return;
    }
    if (this.#restarts === MAX_RESTARTS) {
      this.#givenUp = true;
      log(this.service.name, "given up", { restarts: MAX_RESTARTS });
      return;
    }
    this.#restarts += 1;
    log(this.service.name, "does not answer, restarting", { attempt: this.#restarts });
    await this.stop();
    this.start();
  }
}

/** @param {string} url */
export async function answersHttp(url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(CHECK_TIMEOUT_MS) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

/**
 * PostgreSQL answers the SSLRequest message with one letter, without a login and without a line in its log.
 * @param {string} url
 * @returns {Promise<boolean>}
 */
export function answersPostgres(url) {
  const { hostname, port } = new URL(url);
  const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => socket.write(sslRequest));
    /** @param {boolean} answer */
    const finish = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(CHECK_TIMEOUT_MS, () => finish(false));
    socket.once("error", () => finish(false));
    socket.once("close", () => finish(false));
    socket.once("data", (data) => finish(["S", "N"].includes(data.toString("latin1", 0, 1))));
  });
}

/** @param {NodeJS.ProcessEnv} environment @returns {{ services: Service[], checkMs: number, startMs: number, stopMs: number }} */
export function readConfig(environment) {
  /** @type {string[]} */
  const faults = [];
  /** @param {string} variable @param {number} fallback */
  const milliseconds = (variable, fallback) => {
    const seconds = Number(environment[variable] || fallback);
    if (!(seconds > 0)) faults.push(`${variable}: "${environment[variable]}" is not accepted; set a number above 0`);
    return seconds * 1_000;
  };
  /** @param {string} variable */
  const command = (variable) => {
    const words = (environment[variable] ?? "").split(" ").filter(Boolean);
    if (words.length === 0) faults.push(`${variable}: is not set; set the command to run`);
    return words;
  };
  /** @param {string} variable @param {string} fallback */
  const address = (variable, fallback) => {
    const value = environment[variable] || fallback;
    if (!URL.canParse(value)) faults.push(`${variable}: "${value}" is no address; set one such as ${fallback}`);
    return value;
  };
  const postgres = address("DAEMON_POSTGRES_CHECK", "tcp://127.0.0.1:5432");
  const backend = address("DAEMON_BACKEND_CHECK", "http://127.0.0.1:3000/health/live");
  const frontend = address("DAEMON_FRONTEND_CHECK", "http://127.0.0.1:8080/");
  const config = {
    services: [
      // SIGINT is PostgreSQL's "fast" shutdown; SIGTERM would wait for every client to leave.
      { name: "postgresql", command: command("DAEMON_POSTGRES_COMMAND"), stopSignal: /** @type {const} */ ("SIGINT"), check: () => answersPostgres(postgres) },
      { name: "backend", command: command("DAEMON_BACKEND_COMMAND"), stopSignal: /** @type {const} */ ("SIGTERM"), check: () => answersHttp(backend) },
      { name: "frontend", command: command("DAEMON_FRONTEND_COMMAND"), stopSignal: /** @type {const} */ ("SIGTERM"), check: () => answersHttp(frontend) },
    ],
    checkMs: milliseconds("DAEMON_CHECK_SECONDS", 30),
    startMs: milliseconds("DAEMON_START_SECONDS", 30),
    stopMs: milliseconds("DAEMON_STOP_SECONDS", 40),
  };
  if (faults.length > 0) throw new Error(faults.join("\n"));
  return config;
}

/** Waits until a service answers; one that stays silent is left to the checks. @param {Service} service @param {number} limitMs */
async function settle(service, limitMs) {
  for (const end = Date.now() + limitMs; Date.now() < end; await sleep(100)) {
    if (await service.check()) return;
  }
  log(service.name, "did not come up in time");
}

async function main() {
  let config;
  try {
    config = readConfig(process.env);
  } catch (error) {
    console.error(/** @type {Error} */ (error).message);
    process.exit(78);
  }
  const children = config.services.map((service) => new Child(service, config.stopMs));

  let stopping = false;
  const stop = async () => {
    if (stopping) return;
    stopping = true;
    for (const child of [...children].reverse()) await child.stop();
    process.exit(0);
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);

  for (const child of children) {
    if (stopping) return;
    child.start();
    await settle(child.service, config.startMs);
  }
  for (;;) {
    await sleep(config.checkMs);
    for (const child of children) {
      if (!stopping) await child.lookAfter();
    }
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await main();
