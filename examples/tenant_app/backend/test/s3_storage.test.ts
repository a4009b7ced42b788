import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { Readable } from "node:stream";
import {
  CreateBucketCommand, DeleteBucketCommand, DeleteObjectCommand, ListMultipartUploadsCommand, ListObjectsV2Command, S3Client,
} from "@aws-sdk/client-s3";
import type { S3Config } from "../src/config.js";
import { Readiness } from "../src/readiness.js";
import { seededContent } from "../src/seeding.js";
import { S3Storage } from "../src/storage/s3.js";
import { faultyServer } from "./faulty_server.js";
import { S3_KEY, startS3Server, type TestServer } from "./servers.js";
import {
  assertRefused, bearsAnAbsence, digest, digestOf, halfWay, inPieces, keepsTheContract, LONG_MS, MIB, SHORT_MS,
} from "./storage_contract.js";

/** A service of one's own is tried instead of s3rver when it is named: its buckets are made and removed again. */
const OWN = process.env.TEST_S3_ENDPOINT;

/** Not every server tells a stranger whether there is such a bucket. */
const NO_BUCKET = OWN === undefined ? /there is no such bucket \(NoSuchBucket\)$/ : /there is no such bucket \(NoSuchBucket\)|is not there/;

describe("a bucket", () => {
  let server: TestServer | undefined;
  let config: S3Config;
  let admin: S3Client;
  let storage: S3Storage;

  before(async () => {
    server = OWN === undefined ? await startS3Server() : undefined;
    const credentials =
      OWN === undefined ? S3_KEY : { accessKeyId: process.env.TEST_S3_ACCESS_KEY_ID!, secretAccessKey: process.env.TEST_S3_SECRET_ACCESS_KEY! };
    config = { bucket: `uploads-${randomUUID()}`, endpoint: OWN ?? server!.address, region: "us-east-1", credentials, linkSeconds: 60 };
    admin = new S3Client({ endpoint: config.endpoint!, region: config.region, credentials, forcePathStyle: true });
    await admin.send(new CreateBucketCommand({ Bucket: config.bucket }));
    storage = new S3Storage(config, LONG_MS);
  });
  after(async () => {
    for (const Key of await objects()) await admin.send(new DeleteObjectCommand({ Bucket: config.bucket, Key }));
    await admin.send(new DeleteBucketCommand({ Bucket: config.bucket }));
    await server?.stop();
  });

  async function objects(): Promise<string[]> {
    const { Contents = [] } = await admin.send(new ListObjectsV2Command({ Bucket: config.bucket }));
    return Contents.map(({ Key }) => Key!);
  }

  async function unfinished(): Promise<string[]> {
    const { Uploads = [] } = await admin.send(new ListMultipartUploadsCommand({ Bucket: config.bucket }));
    return Uploads.map(({ Key }) => Key!);
  }

  const everything = async (): Promise<string[]> => [...(await objects()), ...(await unfinished())];
  keepsTheContract(async () => ({ storage, everything }));

  test("a long file goes in parts while it comes, and a break aborts them", async () => {
    const { file, reached, breakOff } = halfWay(seededContent("long", 12 * MIB), 11 * MIB);
    const put = storage.put("tenant/long", file);
    await reached;
    assert.deepEqual(await unfinished(), ["tenant/long"]);
    breakOff(new Error("the client went away"));
    await assert.rejects(put);
    assert.deepEqual(await unfinished(), []);
  });

  bearsAnAbsence(async () => {
    return { storage, everything, address: config.endpoint!, by: (endpoint) => new S3Storage({ ...config, endpoint }, SHORT_MS) };
  });

  test("a stream is read to its end, whatever properties it has", async () => {
    const content = seededContent("long", 12 * MIB);
    await storage.put("tenant/long", Object.assign(Readable.from(inPieces(content)), { size: 0, length: 7, path: "/etc/hostname" }));
    assert.equal(await digestOf(await storage.get("tenant/long")), digest(content));
    await storage.delete("tenant/long");
  });

  test("a link lets one file be read without a key, saved under its name, and only while it holds", async () => {
    const content = seededContent("linked", 300_000);
    await storage.put("tenant/linked", Readable.from(inPieces(content)));
    const presentation = { contentType: "application/pdf", contentDisposition: "attachment; filename*=UTF-8''it%27s%20%C3%BCn%C3%AF.pdf" };
    const link = await storage.link("tenant/linked", presentation);
    assert.ok(link !== undefined);
    const left = link.expiresAt.getTime() - Date.now();
    assert.ok(left > 50_000 && left <= 60_000, `${left} ms left`);
    const got = await fetch(link.url);
    assert.equal(got.status, 200, await got.clone().text());
    assert.ok(Buffer.from(await got.arrayBuffer()).equals(content));
    assert.equal(got.headers.get("content-type"), presentation.contentType);
    assert.equal(got.headers.get("content-disposition"), presentation.contentDisposition);
    const late = new URL(link.url);
    late.searchParams.set("X-Amz-Date", "20200101T000000Z");
    assert.equal((await fetch(late)).status, 403);
    assert.equal(await new S3Storage({ ...config, linkSeconds: 0 }, SHORT_MS).link("tenant/linked", presentation), undefined);
    await storage.delete("tenant/linked");
  });

  test("a key that is not known and a bucket that is not there are told apart", async () => {
    const stranger = { accessKeyId: "AKIANOBODY", secretAccessKey: config.credentials!.secretAccessKey };
    await assertRefused(new S3Storage({ ...config, credentials: stranger }, SHORT_MS), /the access key or its secret is not accepted \(InvalidAccessKeyId\)/);
    await assertRefused(new S3Storage({ ...config, bucket: `${config.bucket}-gone` }, SHORT_MS), NO_BUCKET);
  });

  test("a secret that is wrong is refused", { skip: OWN === undefined && "s3rver looks at no signature" }, async () => {
    const mistyped = { accessKeyId: config.credentials!.accessKeyId, secretAccessKey: "not the secret" };
    await assertRefused(new S3Storage({ ...config, credentials: mistyped }, SHORT_MS), /the access key or its secret is not accepted \(SignatureDoesNotMatch\)/);
  });

  test("the bucket of somebody else is refused", { skip: process.env.TEST_S3_FOREIGN_BUCKET === undefined && "TEST_S3_FOREIGN_BUCKET is not set" }, async () => {
    await assertRefused(new S3Storage({ ...config, bucket: process.env.TEST_S3_FOREIGN_BUCKET! }, SHORT_MS), /it belongs to somebody else/);
  });

  test("readiness says why", async () => {
    const missing = new S3Storage({ ...config, bucket: `${config.bucket}-gone` }, SHORT_MS);
    const { reasons } = await new Readiness({ storage: () => missing.check() }, undefined, 1_800).verdict();
    assert.equal(reasons.length, 1);
    assert.ok(reasons[0]!.startsWith(`storage: ${config.endpoint}/${config.bucket}-gone: `));
    assert.match(reasons[0]!, NO_BUCKET);
  });
});

test("a clock that is an hour off is made up for", { skip: OWN !== undefined && "the clock of a service of one's own is not ours to turn" }, async () => {
  const server = await startS3Server(3_600);
  const config = { bucket: "uploads", endpoint: server.address, region: "us-east-1", credentials: S3_KEY, linkSeconds: 0 };
  const admin = new S3Client({ ...config, forcePathStyle: true });
  await admin.send(new CreateBucketCommand({ Bucket: config.bucket }));
  await new S3Storage(config, LONG_MS).check();
  await server.stop();
});

describe("what S3 says", () => {
  const config = { bucket: "uploads", region: "us-east-1", linkSeconds: 0, credentials: { accessKeyId: "AKIAEXAMPLE", secretAccessKey: "a secret that shows nowhere" } };

  async function saysOf(status: number, code: string): Promise<Error> {
    const server = await faultyServer((_request, response) => {
      response.writeHead(status, { "content-type": "application/xml" });
      response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>as ${code} reads</Message></Error>`);
    });
    try {
      await new S3Storage({ ...config, endpoint: server.address }, SHORT_MS).put("tenant/file", Readable.from(["hello"]));
    } catch (error) {
      return error as Error;
    } finally {
      server.close();
    }
    assert.fail(`${code} passed for a success`);
  }

  test("becomes an operator's words, with its own name to look up and no secret", async () => {
    for (const [status, code, words] of [
      [403, "AccessDenied", /access to the bucket is refused \(AccessDenied\): it belongs to somebody else, is not there, or the key's policy/],
      [403, "SignatureDoesNotMatch", /the access key or its secret is not accepted \(SignatureDoesNotMatch\)/],
      [403, "RequestTimeTooSkewed", /clock and the storage's are more than 15 minutes apart \(RequestTimeTooSkewed\)/],
      [301, "PermanentRedirect", /the bucket is in another region or at another endpoint \(PermanentRedirect\)/],
      [503, "SlowDown", /the storage is overloaded or not all there \(SlowDown\)/],
      [507, "XMinioStorageFull", /as XMinioStorageFull reads \(XMinioStorageFull, status 507\)/],
    ] as const) {
      const { message } = await saysOf(status, code);
      assert.match(message, words);
      assert.match(message, /^http:\/\/127\.0\.0\.1:\d+\/uploads: /);
      assert.doesNotMatch(message, /AKIAEXAMPLE|a secret/);
    }
  });

  test("a request that the storage is too busy for is tried once more", async () => {
    let busy = true;
    const server = await faultyServer((_request, response) => {
      response.writeHead(busy ? 503 : 200, { "content-type": "application/xml", etag: '"1"' });
      response.end(busy ? "<Error><Code>SlowDown</Code></Error>" : "");
      busy = false;
    });
    await new S3Storage({ ...config, endpoint: server.address }, SHORT_MS).put("tenant/file", Readable.from(["hello"]));
    assert.equal(server.requests(), 2);
    server.close();
  });

  test("something else that listens there does not pass for a storage", async () => {
    const server = await faultyServer((_request, response) => response.end("<html>It works!</html>"));
    await assert.rejects(new S3Storage({ ...config, endpoint: server.address }, SHORT_MS).check(), /did not read back as it was written/);
    server.close();
  });

  test("without a key and without a role it says that it has none", async (t) => {
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"]) {
      const kept = process.env[name];
      delete process.env[name];
      if (kept !== undefined) t.after(() => void (process.env[name] = kept));
    }
    Object.assign(process.env, { AWS_EC2_METADATA_DISABLED: "true", AWS_CONFIG_FILE: "/dev/null", AWS_SHARED_CREDENTIALS_FILE: "/dev/null" });
    const bare = new S3Storage({ ...config, endpoint: undefined, credentials: undefined }, SHORT_MS);
    await assert.rejects(bare.check(), /^Error: s3:\/\/uploads: no access key is set, and this host has no role that gives one/);
  });
});
