import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { mkdtemp, readdir } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateBucketCommand, ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";
import { pino } from "pino";
import { drain } from "../src/drain.js";
import { seed, seededContent } from "../src/seeding.js";
import { emptyDatabase, startInstance, stopInstance, type Instance } from "./instance.js";
import { Proxy } from "./proxy.js";
import { S3_KEY, startS3Server, type TestServer } from "./servers.js";

const url = process.env.TEST_DATABASE_URL;
const PASSWORD = "a password for tests";

describe("the API over a real database", { skip: url === undefined && "TEST_DATABASE_URL is not set" }, () => {
  let environment: Record<string, string>;
  let instance: Instance;
  let root: string;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), "uploads-"));
    environment = {
      DATABASE_URL: url!, STORAGE_LOCAL_PATH: root, STORAGE_ALLOWED_ROOTS: tmpdir(), INSTANCE_NAME: "test-1", UPLOAD_MAX_BYTES: "1000000",
    };
    await emptyDatabase(url!);
    instance = await startInstance(environment);
    await seed(instance.database, instance.storage.current(), { password: PASSWORD, notesPerTenant: 45 });
  });
  after(() => stopInstance(instance));

  async function call(method: string, path: string, options: { token?: string; body?: unknown; headers?: Record<string, string> } = {}) {
    const headers = new Headers(options.headers);
    if (options.token !== undefined) headers.set("authorization", `Bearer ${options.token}`);
    const isForm = options.body instanceof FormData;
    if (options.body !== undefined && !isForm) headers.set("content-type", "application/json");
    const body = isForm ? (options.body as FormData) : options.body === undefined ? null : JSON.stringify(options.body);
    const response = await fetch(instance.base + path, { method, headers, body });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
    // The shape of an answer is what each test asserts.
    return { status: response.status, headers: response.headers, text, json: isJson ? (JSON.parse(text) as any) : undefined };
  }

  async function login(role: string, tenant = "acme"): Promise<string> {
    const { status, json } = await call("POST", "/api/auth/login", { body: { tenant, email: `${role}@${tenant}.example`, password: PASSWORD } });
    assert.equal(status, 200);
    return json.accessToken;
  }

  function form(content: string | Buffer, name = "hello.txt"): FormData {
    const data = new FormData();
    data.append("file", new Blob([content], { type: "text/plain" }), name);
    return data;
  }

  test("seeding twice changes nothing", async () => {
    const count = () => Promise.all([instance.database.primary.note.count(), instance.database.primary.upload.count(), instance.database.primary.user.count()]);
    const first = await count();
    await seed(instance.database, instance.storage.current(), { password: PASSWORD, notesPerTenant: 45 });
    assert.deepEqual(await count(), first);
    assert.deepEqual(first, [135, 9, 9]);
  });

  test("a token lives as long as JWT_TTL_SECONDS says and names tenant, user and role", async () => {
    const payload = JSON.parse(Buffer.from((await login("owner")).split(".")[1]!, "base64url").toString());
    assert.equal(payload.exp - payload.iat, 28_800);
    assert.deepEqual(Object.keys(payload).sort(), ["exp", "iat", "jti", "role", "sub", "tenantId"]);
  });

  test("wrong password, unknown user and unknown tenant look the same", async () => {
    for (const body of [
      { tenant: "acme", email: "owner@acme.example", password: "wrong" },
      { tenant: "acme", email: "nobody@acme.example", password: PASSWORD },
      { tenant: "nowhere", email: "owner@acme.example", password: PASSWORD },
    ]) {
      const { status, json } = await call("POST", "/api/auth/login", { body });
      assert.equal(status, 401);
      assert.equal(json.error.code, "invalid_credentials");
    }
  });

  test("every answer names the instance and the request, and keeps a well-formed request id", async () => {
    const given = await call("GET", "/nowhere", { headers: { "x-request-id": "trace-12345678" } });
    assert.equal(given.status, 404);
    assert.equal(given.headers.get("x-served-by"), "test-1");
    assert.equal(given.headers.get("x-request-id"), "trace-12345678");
    assert.equal(given.json.error.requestId, "trace-12345678");
    const forged = await call("GET", "/health/live", { headers: { "x-request-id": 'a" b' } });
    assert.match(forged.headers.get("x-request-id")!, /^[0-9a-f-]{36}$/);
  });

  test("a token is needed, and one that was tampered with is refused", async () => {
    assert.equal((await call("GET", "/api/me")).status, 401);
    const token = await login("owner");
    const me = await call("GET", "/api/me", { token });
    assert.equal(me.json.tenant.slug, "acme");
    const [head, , signature] = token.split(".");
    const payload = Buffer.from(JSON.stringify({ role: "owner", tenantId: randomUUID() })).toString("base64url");
    assert.equal((await call("GET", "/api/me", { token: `${head}.${payload}.${signature}` })).status, 401);
    assert.equal((await call("POST", "/api/auth/logout", { token })).status, 204);
  });

  test("notes: created, read, changed, deleted", async () => {
    const token = await login("editor");
    const created = await call("POST", "/api/notes", { token, body: { title: "First", body: "text" } });
    assert.equal(created.status, 201);
    const path = `/api/notes/${created.json.id}`;
    assert.equal((await call("GET", path, { token })).json.title, "First");
    assert.equal((await call("PUT", path, { token, body: { title: "Second", body: "" } })).json.title, "Second");
    assert.equal((await call("DELETE", path, { token })).status, 204);
    assert.equal((await call("GET", path, { token })).status, 404);
    assert.equal((await call("PUT", path, { token, body: { title: "Third" } })).status, 404);
    assert.equal((await call("DELETE", path, { token })).status, 404);
  });

  test("notes: pages follow one another without gap or repeat", async () => {
    const token = await login("viewer", "globex");
    const seen: string[] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      const page: any = (await call("GET", `/api/notes?limit=20${cursor && `&cursor=${cursor}`}`, { token })).json;
      seen.push(...page.items.map((note: { id: string }) => note.id));
      cursor = page.nextCursor;
    }
    assert.equal(seen.length, 45);
    assert.deepEqual(seen, [...new Set(seen)].sort().reverse());
  });

  test("notes: the same Idempotency-Key makes one note, also when both requests come at once", async () => {
    const token = await login("editor");
    const options = { token, body: { title: "Once" }, headers: { "idempotency-key": randomUUID() } };
    const answers = await Promise.all([call("POST", "/api/notes", options), call("POST", "/api/notes", options)]);
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 201]);
    assert.equal(answers[0]!.json.id, answers[1]!.json.id);
    const other = await call("POST", "/api/notes", { ...options, token: await login("editor", "globex") });
    assert.equal(other.status, 201);
  });

  test("another tenant's notes and files do not exist", async () => {
    const mine = await login("owner");
    const theirs = await login("owner", "globex");
    for (const list of ["/api/notes", "/api/uploads"]) {
      const { json } = await call("GET", list, { token: theirs });
      const path = `${list}/${json.items[0].id}`;
      assert.equal((await call("GET", path, { token: theirs })).status, 200);
      assert.equal((await call("GET", path, { token: mine })).status, 404);
      assert.equal((await call("DELETE", path, { token: mine })).status, 404);
    }
  });

  test("a viewer reads and may not write", async () => {
    const token = await login("viewer");
    assert.equal((await call("GET", "/api/notes", { token })).status, 200);
    assert.equal((await call("POST", "/api/notes", { token, body: { title: "No" } })).status, 403);
    assert.equal((await call("POST", "/api/uploads", { token, body: form("no") })).status, 403);
    assert.equal((await call("PUT", "/api/settings", { token, body: { language: "pt-BR" } })).status, 403);
    assert.ok(!(await call("GET", "/api/permissions", { token })).json.permissions.includes("notes:write"));
  });

  test("bad input is a 400 that says what is wrong", async () => {
    const token = await login("editor");
    for (const body of [{}, { title: "" }, { title: "x", colour: "red" }]) {
      assert.equal((await call("POST", "/api/notes", { token, body })).json.error.code, "bad_request");
    }
    assert.equal((await call("GET", "/api/notes?limit=1000", { token })).status, 400);
    assert.equal((await call("GET", "/api/notes/1", { token })).status, 400);
    assert.equal((await call("POST", "/api/uploads", { token, body: new FormData() })).status, 400);
  });

  test("settings: named keys change, null removes, the rest stays", async () => {
    const token = await login("owner", "initech");
    const changed = await call("PUT", "/api/settings", { token, body: { language: "pt-BR", theme: { dark: true }, invoice_day: null } });
    assert.deepEqual(changed.json.settings, { display_name: "Initech", language: "pt-BR", theme: { dark: true } });
    assert.equal((await call("PUT", "/api/settings", { token, body: { "Bad Key": 1 } })).status, 400);
  });

  test("uploads: stored whole, described by their hash, sent back as they came", async () => {
    const token = await login("editor");
    const content = Buffer.alloc(300_000, "0123456789");
    const created = await call("POST", "/api/uploads", { token, body: form(content, "it's ünï.txt") });
    assert.equal(created.status, 201);
    assert.equal(created.json.size, content.length);
    assert.equal(created.json.sha256, createHash("sha256").update(content).digest("hex"));
    const path = `/api/uploads/${created.json.id}`;
    const got = await call("GET", path, { token });
    assert.equal(got.text, content.toString());
    assert.equal(got.headers.get("content-disposition"), "attachment; filename*=UTF-8''it%27s%20%C3%BCn%C3%AF.txt");
    assert.equal((await call("GET", path, { token, headers: { "if-none-match": got.headers.get("etag")! } })).status, 304);
    // A disk has no links of its own.
    assert.equal((await call("GET", `${path}/link`, { token })).json.error.code, "no_links");
    assert.equal((await call("DELETE", path, { token })).status, 204);
    assert.equal((await call("GET", path, { token })).status, 404);
  });

  test("uploads: one that is too large leaves neither row nor file", async () => {
    const token = await login("editor");
    const { tenant } = (await call("GET", "/api/me", { token })).json;
    const before = await readdir(join(root, tenant.id));
    const refused = await call("POST", "/api/uploads", { token, body: form(Buffer.alloc(1_000_001)) });
    assert.equal(refused.status, 413);
    assert.deepEqual(await readdir(join(root, tenant.id)), before);
  });

  test("uploads: a storage that cannot be written is a 503 of its own", async () => {
    const broken = await startInstance({ ...environment, STORAGE_LOCAL_PATH: "/dev/null" });
    const headers = { authorization: `Bearer ${await login("editor")}` };
    const response = await fetch(`${broken.base}/api/uploads`, { method: "POST", headers, body: form("lost") });
    assert.equal(response.status, 503);
    assert.equal(((await response.json()) as { error: { code: string } }).error.code, "storage_unavailable");
    await stopInstance(broken);
  });

  test("storage: only an owner moves it, only to a place that works, and other instances follow within 2 s", async () => {
    const other = await startInstance({ ...environment, INSTANCE_NAME: "test-2" });
    await other.storage.start(() => {});
    const target = await mkdtemp(join(tmpdir(), "share-"));
    const put = async (role: string, path: string) =>
      (await call("PUT", "/api/settings/storage", { token: await login(role), body: { driver: "local", path } })).status;
    try {
      assert.equal(await put("editor", target), 403);
      assert.equal(await put("owner", "/etc"), 422);
      assert.equal(await put("owner", join(target, "..", "..", "etc")), 422);
      assert.equal(await put("owner", join(target, "missing")), 422);
      assert.equal(await put("owner", target), 200);
      for (const end = Date.now() + 2_000; Date.now() < end && other.storage.current().location !== target; ) await sleep(50);
      assert.equal(other.storage.current().location, target);
      const { id } = (await call("GET", "/api/uploads", { token: await login("owner") })).json.items[0];
      const missing = await call("GET", `/api/uploads/${id}`, { token: await login("owner") });
      assert.equal(missing.status, 503);
      assert.equal(missing.json.error.code, "file_unavailable");
    } finally {
      assert.equal(await put("owner", root), 200);
      other.storage.stop();
      await stopInstance(other);
    }
  });

  describe("with a bucket", () => {
    let server: TestServer;
    let s3: Record<string, string>;
    let bucketed: Instance;
    let proxy: Proxy;

    before(async () => {
      server = await startS3Server();
      await new S3Client({ endpoint: server.address, region: "us-east-1", credentials: S3_KEY, forcePathStyle: true }).send(new CreateBucketCommand({ Bucket: "uploads" }));
      proxy = await Proxy.before(server.address);
      s3 = {
        STORAGE_S3_BUCKET: "uploads", STORAGE_S3_ENDPOINT: new URL(proxy.url).origin, STORAGE_REQUEST_TIMEOUT_MS: "2000", STORAGE_S3_LINK_SECONDS: "120",
        STORAGE_S3_ACCESS_KEY_ID: S3_KEY.accessKeyId, STORAGE_S3_SECRET_ACCESS_KEY: S3_KEY.secretAccessKey,
      };
      bucketed = await startInstance({ ...environment, ...s3, STORAGE_DRIVER: "s3", INSTANCE_NAME: "test-s3", UPLOAD_MAX_BYTES: "20000000" });
    });
    after(async () => {
      await stopInstance(bucketed);
      proxy.close();
      await server.stop();
    });

    async function stored(): Promise<string[]> {
      const admin = new S3Client({ endpoint: server.address, region: "us-east-1", credentials: S3_KEY, forcePathStyle: true });
      const [{ Contents = [] }, { Uploads = [] }] = await Promise.all([
        admin.send(new ListObjectsV2Command({ Bucket: "uploads" })),
        admin.send(new ListMultipartUploadsCommand({ Bucket: "uploads" })),
      ]);
      return [...Contents, ...Uploads].map(({ Key }) => Key!);
    }

    async function send(method: string, path: string, body: FormData | null = null): Promise<Response> {
      return fetch(bucketed.base + path, { method, body, headers: { authorization: `Bearer ${await login("owner")}` } });
    }

    test("uploads of several parts come back as they went, and go when they are deleted", async () => {
      const content = seededContent("drawing", 12_000_000);
      const created = await send("POST", "/api/uploads", form(content));
      assert.equal(created.status, 201, await created.clone().text());
      const { id, sha256 } = (await created.json()) as { id: string; sha256: string };
      const got = Buffer.from(await (await send("GET", `/api/uploads/${id}`)).arrayBuffer());
      assert.equal(createHash("sha256").update(got).digest("hex"), sha256);
      assert.ok(got.equals(content));
      const answer = await send("GET", `/api/uploads/${id}/link`);
      assert.equal(answer.headers.get("cache-control"), "no-store");
      const { url, expiresAt } = (await answer.json()) as { url: string; expiresAt: string };
      assert.ok(Math.abs(Date.parse(expiresAt) - Date.now() - 120_000) < 10_000, expiresAt);
      assert.ok(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(content));
      assert.equal((await fetch(`${bucketed.base}/api/uploads/${id}/link`)).status, 401);
      assert.equal((await send("DELETE", `/api/uploads/${id}`)).status, 204);
      assert.deepEqual(await stored(), []);
    });

    test("one that is too large, or whose client goes away, leaves neither row nor object nor part", async () => {
      const rows = await instance.database.primary.upload.count();
      const refused = await send("POST", "/api/uploads", form(Buffer.alloc(20_000_001)));
      assert.equal(refused.status, 413);
      assert.deepEqual(await stored(), []);

      const { port } = new URL(bucketed.base);
      const token = await login("owner");
      const client = connect(Number(port), "127.0.0.1");
      client.on("error", () => {});
      const head = '--x\r\nContent-Disposition: form-data; name="file"; filename="half.bin"\r\nContent-Type: application/octet-stream\r\n\r\n';
      client.write(`POST /api/uploads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 15000000\r\n\r\n${head}`);
      client.write(seededContent("half", 11_000_000));
      // The first part is on its way: there is something to be left behind.
      for (const end = Date.now() + 10_000; Date.now() < end && (await stored()).length === 0; ) await sleep(50);
      assert.equal((await stored()).length, 1);
      client.destroy();
      for (const end = Date.now() + 10_000; Date.now() < end && (await stored()).length > 0; ) await sleep(50);
      assert.deepEqual(await stored(), []);
      assert.equal(await instance.database.primary.upload.count(), rows);
    });

    test("a storage that is away is a 503 in time, readiness says why, and nothing passes for stored", async () => {
      const rows = await instance.database.primary.upload.count();
      for (const mode of ["hang", "refuse"] as const) {
        proxy.set(mode);
        const started = Date.now();
        const answer = await send("POST", "/api/uploads", form("lost"));
        assert.equal(answer.status, 503);
        assert.equal(((await answer.json()) as { error: { code: string } }).error.code, "storage_unavailable");
        assert.ok(Date.now() - started < 5_000);
        // Longer than a verdict is kept.
        await sleep(1_100);
        const ready = await fetch(`${bucketed.base}/health/ready`);
        assert.equal(ready.status, 503);
        assert.match(((await ready.json()) as { reasons: string[] }).reasons.join(), /^storage: http:\S+\/uploads: (no answer within 1500 ms|the connection broke)/);
        proxy.set("pass");
        await sleep(1_100);
        assert.equal((await fetch(`${bucketed.base}/health/ready`)).status, 200);
      }
      assert.equal(await instance.database.primary.upload.count(), rows);
      assert.deepEqual(await stored(), []);
    });

    test("an owner moves all instances there; one that lacks the configuration leaves, and keeps nothing elsewhere", async () => {
      const able = await startInstance({ ...environment, ...s3, INSTANCE_NAME: "test-able" });
      const put = async (base: string, body: unknown) => {
        const headers = { authorization: `Bearer ${await login("owner")}`, "content-type": "application/json" };
        const response = await fetch(`${base}/api/settings/storage`, { method: "PUT", headers, body: JSON.stringify(body) });
        return { status: response.status, json: (await response.json()) as any };
      };
      try {
        assert.equal((await put(able.base, { driver: "s3", path: root })).status, 400);
        assert.equal((await put(able.base, { driver: "local" })).status, 400);
        const unable = await put(instance.base, { driver: "s3" });
        assert.equal(unable.status, 422);
        assert.match(unable.json.error.message, /no configuration for the storage "s3"/);
        const moved = await put(able.base, { driver: "s3" });
        assert.equal(moved.status, 200);
        assert.deepEqual(moved.json, { driver: "s3", path: `${s3["STORAGE_S3_ENDPOINT"]}/uploads`, choices: ["local", "s3"], writeTest: { ok: true } });
        await instance.storage.refresh();
        const refused = await call("POST", "/api/uploads", { token: await login("owner"), body: form("nowhere") });
        assert.equal(refused.json.error.code, "storage_unavailable");
        await assert.rejects(instance.storage.current().check(), /no configuration for the storage "s3": set its STORAGE_ variables/);
        assert.equal((await put(able.base, { driver: "local", path: root })).status, 200);
        await instance.storage.refresh();
        await instance.storage.current().check();
      } finally {
        await instance.database.primary.platformSetting.deleteMany();
        await instance.storage.refresh();
        await stopInstance(able);
      }
    });
  });

  test("metrics carry the route's pattern, not the address", async () => {
    const token = await login("viewer");
    await call("GET", `/api/notes/${randomUUID()}`, { token });
    const { text } = await call("GET", "/metrics");
    assert.match(text, /http_requests_total\{route="\/api\/notes\/:id",method="GET",status="404"\} \d/);
    assert.match(text, /database_pool_connections\{pool="primary",state="idle"\} \d/);
    assert.match(text, /http_requests_in_flight 1\n/);
  });

  test("while draining: not ready, still serving, connections closed after the answer", async () => {
    const leaving = await startInstance(environment);
    assert.equal((await fetch(`${leaving.base}/health/ready`)).status, 200);
    const drained = drain(
      { server: leaving.app.server, startDraining: () => leaving.readiness.startDraining(), close: () => leaving.app.close() },
      { delayMs: 300, timeoutMs: 1_000 },
      pino({ level: "silent" }),
    );
    assert.equal((await fetch(`${leaving.base}/health/ready`)).status, 503);
    const served = await fetch(`${leaving.base}/health/live`);
    assert.equal(served.status, 200);
    assert.equal(served.headers.get("connection"), "close");
    await drained;
    await assert.rejects(fetch(`${leaving.base}/health/live`));
    await leaving.database.close();
  });
});

test("without a database the instance lives, is not ready, and answers 503 in time", async () => {
  const root = await mkdtemp(join(tmpdir(), "uploads-"));
  const instance = await startInstance({ DATABASE_URL: "postgresql://nobody@127.0.0.1:1/none", STORAGE_LOCAL_PATH: root });
  assert.equal((await fetch(`${instance.base}/health/live`)).status, 200);
  const ready = await fetch(`${instance.base}/health/ready`);
  assert.equal(ready.status, 503);
  assert.match(((await ready.json()) as { reasons: string[] }).reasons[0] ?? "", /^database: connect ECONNREFUSED/);
  const body = JSON.stringify({ tenant: "acme", email: "owner@acme.example", password: PASSWORD });
  const login = await fetch(`${instance.base}/api/auth/login`, { method: "POST", headers: { "content-type": "application/json" }, body });
  assert.equal(login.status, 503);
  assert.equal(((await login.json()) as { error: { code: string } }).error.code, "database_unavailable");
  await stopInstance(instance);
});
