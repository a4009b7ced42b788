import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../../test/servers/", import.meta.url));

/** A server that has not said by then that it listens is given up. */
const START_MS = 60_000;

/** A server that runs beside the tests, and where it keeps its files. */
export interface TestServer {
  address: string;
  stop(): Promise<void>;
}

export const S3_KEY = { accessKeyId: "S3RVER", secretAccessKey: "S3RVER" };

/** An S3 server, whose clock may be off. */
export function startS3Server(secondsOff = 0): Promise<TestServer> {
  return start((directory) => [join(FOLDER, "s3.mjs"), directory, String(secondsOff)], /^(http:.*)$/);
}

export const AZURE_ACCOUNT = { name: "testaccount", key: Buffer.from("a key that only these tests use").toString("base64") };

/** Azurite, Microsoft's own emulator of Azure Blob Storage. */
export async function startAzurite(): Promise<TestServer> {
  const port = await freePort();
  const program = join(FOLDER, "node_modules/azurite/dist/src/blob/main.js");
  const options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent", "--blobPort", String(port)];
  return start(() => [program, ...options], /successfully listens on (http:\S+)/, {
    AZURITE_ACCOUNTS: `${AZURE_ACCOUNT.name}:${AZURE_ACCOUNT.key}`,
  });
}

async function start(command: (directory: string) => string[], ready: RegExp, environment: Record<string, string> = {}): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), "server-"));
  const child: ChildProcess = spawn(process.execPath, command(directory), { stdio: ["ignore", "pipe", "inherit"], cwd: directory, env: { ...process.env, ...environment } });
  const gone = once(child, "exit");
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await gone;
    await rm(directory, { recursive: true, force: true });
  };
  const tooLate = setTimeout(() => child.kill("SIGKILL"), START_MS);
  for await (const line of createInterface(child.stdout!)) {
    const address = ready.exec(line)?.[1];
    if (address === undefined) continue;
    clearTimeout(tooLate);
    child.stdout!.resume();
    return { address, stop };
  }
  clearTimeout(tooLate);
  await stop();
  assert.fail(`${command(directory).join(" ")} did not say that it listens`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
