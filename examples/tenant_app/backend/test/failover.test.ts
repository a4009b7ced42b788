import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { seed } from "../src/seeding.js";
import { emptyDatabase, startInstance, stopInstance, type Instance } from "./instance.js";
import { Proxy } from "./proxy.js";

const url = process.env.TEST_DATABASE_URL;
const PASSWORD = "a password for tests";

/** What a request may take: its budget, and what a slow machine adds. */
const IN_TIME_MS = 3_000;

/** The first statements of one kind on notes fail, as often as `faults` says: a sequence counts on through a rollback. */
const FAULTS = `
  CREATE SEQUENCE IF NOT EXISTS faults_met;
  CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF nextval('faults_met') <= TG_ARGV[0]::int THEN RAISE EXCEPTION 'as in a failover' USING ERRCODE = TG_ARGV[1]; END IF;
    RETURN NEW;
  END $$`;

describe("while the database fails over", { skip: url === undefined && "TEST_DATABASE_URL is not set" }, () => {
  let admin: pg.Client;
  let primary: Proxy;
  let replica: Proxy;
  let instance: Instance;
  let token: string;

  before(async () => {
    await emptyDatabase(url!);
    admin = new pg.Client({ connectionString: url });
    await admin.connect();
    primary = await Proxy.before(url!);
    replica = await Proxy.before(url!);
    instance = await startInstance({
      DATABASE_URL: primary.url, DATABASE_REPLICA_URL: replica.url, DATABASE_REPLICA_LAG_MS: "1000",
      STORAGE_LOCAL_PATH: await mkdtemp(join(tmpdir(), "uploads-")),
    });
    await seed(instance.database, instance.storage.current(), { password: PASSWORD, notesPerTenant: 3 });
    token = (await call("POST", "/api/auth/login", { tenant: "acme", email: "editor@acme.example", password: PASSWORD })).json.accessToken;
  });
  after(async () => {
    await stopInstance(instance);
    primary.close();
    replica.close();
    await admin.query("DROP FUNCTION IF EXISTS fault CASCADE; DROP SEQUENCE IF EXISTS faults_met");
    await admin.end();
  });
  afterEach(async () => {
    primary.set("pass");
    replica.set("pass");
    await admin.query("DROP TRIGGER IF EXISTS fault ON notes");
    for (const end = Date.now() + 5_000; Date.now() < end && (await measured("database_replica_usable")) !== 1; ) await sleep(50);
    assert.equal(await measured("database_replica_usable"), 1, "the replica is read again once it is back");
  });

  async function call(method: string, path: string, body?: unknown, extra: Record<string, string> = {}) {
    const headers: Record<string, string> = { ...extra };
    if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    const started = performance.now();
    const response = await fetch(instance.base + path, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
    const text = await response.text();
    const milliseconds = performance.now() - started;
    assert.ok(milliseconds < IN_TIME_MS, `${method} ${path}: ${milliseconds} ms`);
    // The shape of an answer is what each test asserts.
    return { status: response.status, readAfter: response.headers.get("x-read-after"), milliseconds, json: (text.startsWith("{") ? JSON.parse(text) : undefined) as any };
  }

  test("an instance has its connections before anybody asks, and starts in time while the database hangs", async () => {
    const opened = (name: string) => instance.database.pools.get(name)!.totalCount;
    await instance.database.warmUp(5_000);
    assert.deepEqual([opened("primary"), opened("replica")], [5, 5]);
    primary.set("hang");
    replica.set("hang");
    const started = performance.now();
    await instance.database.warmUp(300);
    const milliseconds = performance.now() - started;
    assert.ok(milliseconds >= 290 && milliseconds < 1_000, `${milliseconds} ms`);
    primary.set("refuse");
    await instance.database.warmUp(5_000);
  });

  /** One series of /metrics. */
  async function measured(series: string): Promise<number> {
    const text = await (await fetch(`${instance.base}/metrics`)).text();
    return Number(text.split("\n").find((line) => line.startsWith(`${series} `))?.split(" ").at(-1));
  }

  async function increase(series: string, during: () => Promise<unknown>): Promise<number> {
    const start = await measured(series);
    await during();
    return (await measured(series)) - start;
  }

  async function failing(statement: "INSERT" | "UPDATE", times: number, code: string): Promise<void> {
    await admin.query(FAULTS);
    await admin.query("ALTER SEQUENCE faults_met RESTART");
    await admin.query(`CREATE OR REPLACE TRIGGER fault BEFORE ${statement} ON notes FOR EACH ROW EXECUTE FUNCTION fault('${times}', '${code}')`);
  }

  async function notesCalled(title: string): Promise<number> {
    return (await admin.query("SELECT FROM notes WHERE title = $1", [title])).rowCount!;
  }

  test("reads go to the replica, and to the primary for who shows that it has just written, until the lag is over", async () => {
    // What its role may do is read too, once in a few seconds.
    await call("GET", "/api/notes");
    assert.equal(await increase('database_reads_total{target="replica"}', () => call("GET", "/api/notes")), 1);
    const written = await call("POST", "/api/notes", { title: "own write" });
    assert.match(written.readAfter!, /^\d{13}$/);
    const readBack = (): Promise<unknown> => call("GET", "/api/notes", undefined, { "x-read-after": written.readAfter! });
    assert.equal(await increase('database_reads_detoured_total{reason="own_write"}', readBack), 1);
    assert.equal((await call("GET", "/api/notes")).readAfter, null);
    await sleep(1_000);
    assert.equal(await increase('database_reads_total{target="replica"}', readBack), 1);
  });

  test("a note that the replica lacks is looked for on the primary before anyone hears of a 404", async () => {
    const look = async (): Promise<void> => assert.equal((await call("GET", `/api/notes/${randomUUID()}`)).status, 404);
    assert.equal(await increase('database_reads_detoured_total{reason="missing"}', look), 1);
  });

  test("reads go on on the primary while the replica is away, and the instance is ready", async () => {
    replica.set("refuse");
    assert.equal(await increase('database_reads_detoured_total{reason="fault"}', async () => {
      for (let read = 0; read < 5; read += 1) assert.equal((await call("GET", "/api/notes")).status, 200);
    }), 1);
    const ready = await call("GET", "/health/ready");
    assert.equal(ready.status, 200);
    assert.match(ready.json.checks.replica.note, /^away, so the primary is read: /);
  });

  test("a replica that hangs delays one read and no other", async () => {
    replica.set("hang");
    assert.equal((await call("GET", "/api/notes")).status, 200);
    for (let read = 0; read < 5; read += 1) {
      const { status, milliseconds } = await call("GET", "/api/notes");
      assert.deepEqual([status, milliseconds < 1_000], [200, true]);
    }
  });

  test("reads go on on the replica while the primary is away, writes are a 503 in time, and the instance is not ready", async () => {
    for (const mode of ["refuse", "hang"] as const) {
      primary.set(mode);
      await sleep(1_000);
      assert.equal((await call("GET", "/api/notes")).status, 200);
      const write = await call("POST", "/api/notes", { title: "while it is away" });
      assert.deepEqual([write.status, write.json.error.code], [503, "database_unavailable"]);
      assert.equal((await call("GET", "/health/ready")).status, 503);
      primary.set("refuse");
      primary.set("pass");
    }
  });

  test("a write that comes while the primary is changed waits for the new one", async () => {
    primary.set("refuse");
    const write = call("POST", "/api/notes", { title: "waits" });
    await sleep(600);
    primary.set("pass");
    assert.equal((await write).status, 201);
    assert.equal(await notesCalled("waits"), 1);
  });

  for (const code of ["25006", "57P01", "40001"]) {
    test(`a write that the server refused with ${code} is repeated, and made once`, async () => {
      await failing("INSERT", 2, code);
      const retries = await increase('database_retries_total{operation="write"}', async () => {
        assert.equal((await call("POST", "/api/notes", { title: `refused ${code}` })).status, 201);
      });
      assert.deepEqual([retries, await notesCalled(`refused ${code}`)], [2, 1]);
      const { id } = (await call("GET", "/api/notes?limit=1")).json.items[0];
      await failing("UPDATE", 2, code);
      assert.equal((await call("PUT", `/api/notes/${id}`, { title: "changed" })).status, 200);
    });
  }

  test("a new note whose commit was not heard of is the same note, with an Idempotency-Key and without", async () => {
    for (const headers of [{}, { "idempotency-key": randomUUID() }]) {
      const title = `unheard ${randomUUID()}`;
      primary.lose("INSERT 0 1");
      const answer = await call("POST", "/api/notes", { title }, headers);
      assert.deepEqual([answer.status, await notesCalled(title)], [201, 1]);
    }
  });

  test("another write whose commit was not heard of is not repeated, and its caller reads from the primary from then on", async () => {
    const { id } = (await call("POST", "/api/notes", { title: "to be changed" })).json;
    primary.lose("UPDATE 1");
    const answer = await call("PUT", `/api/notes/${id}`, { title: "perhaps changed" });
    assert.deepEqual([answer.status, await notesCalled("perhaps changed")], [503, 1]);
    assert.match(answer.readAfter!, /^\d{13}$/);
  });

  test("no statement is left prepared on a connection, so a pooler may give each transaction another one", async () => {
    await call("POST", "/api/notes", { title: "prepared for this once" });
    const [row] = await instance.database.primary.$queryRaw<[{ count: bigint }]>`SELECT count(*) FROM pg_prepared_statements WHERE name <> ''`;
    assert.equal(row.count, 0n);
  });

  test("connections that the server ended are replaced unnoticed", async () => {
    await call("GET", "/api/notes");
    await call("PUT", "/api/notes/00000000-0000-0000-0000-000000000000", { title: "nothing" });
    await admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    assert.equal((await call("GET", "/api/notes")).status, 200);
    assert.equal((await call("POST", "/api/notes", { title: "afterwards" })).status, 201);
  });
});
