import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { after, before, describe, test } from "node:test";
import { BlobServiceClient, type ContainerClient } from "@azure/storage-blob";
import { AzureBlobStorage } from "../src/storage/azure_blob.js";
import { faultyServer } from "./faulty_server.js";
import { AZURE_ACCOUNT, startAzurite, type TestServer } from "./servers.js";
import { assertRefused, bearsAnAbsence, keepsTheContract, LONG_MS, SHORT_MS } from "./storage_contract.js";

function connectionString(address: string, key = AZURE_ACCOUNT.key): string {
  return `DefaultEndpointsProtocol=http;AccountName=${AZURE_ACCOUNT.name};AccountKey=${key};BlobEndpoint=${address}/${AZURE_ACCOUNT.name}`;
}

describe("a container", () => {
  let server: TestServer;
  let container: string;
  let admin: ContainerClient;
  let storage: AzureBlobStorage;

  before(async () => {
    server = await startAzurite();
    container = `uploads-${randomUUID()}`;
    admin = BlobServiceClient.fromConnectionString(connectionString(server.address)).getContainerClient(container);
    await admin.create();
    storage = at(server.address, { limitMs: LONG_MS });
  });
  after(() => server.stop());

  function at(address: string, { key = AZURE_ACCOUNT.key, name = container, limitMs = SHORT_MS } = {}): AzureBlobStorage {
    return new AzureBlobStorage({ connectionString: connectionString(address, key), container: name }, limitMs);
  }

  async function blobs(): Promise<string[]> {
    const names: string[] = [];
    for await (const { name } of admin.listBlobsFlat()) names.push(name);
    return names;
  }

  keepsTheContract(async () => ({ storage, everything: blobs }));
  bearsAnAbsence(async () => ({ storage, everything: blobs, address: server.address, by: (address) => at(address) }));

  test("a key that is wrong and a container that is not there are told apart", async () => {
    const mistyped = at(server.address, { key: Buffer.from("not the key").toString("base64") });
    await assertRefused(mistyped, /the key is not accepted \((AuthenticationFailed|AuthorizationFailure)\)|access to the container is refused/);
    await assertRefused(at(server.address, { name: "nowhere-to-be-found" }), /there is no such container \(ContainerNotFound\)/);
  });
});

describe("what Azure says", () => {
  test("becomes an operator's words, with its own name to look up and no secret", async () => {
    for (const [status, code, words] of [
      [403, "AuthenticationFailed", /the key is not accepted \(AuthenticationFailed\).*clock is more than 15 minutes off/],
      [403, "AuthorizationPermissionMismatch", /access to the container is refused \(AuthorizationPermissionMismatch\)/],
      [503, "ServerBusy", /the storage is overloaded or not all there \(ServerBusy\)/],
      [409, "SomethingNew", /as SomethingNew reads.* \(SomethingNew, status 409\)/s],
    ] as const) {
      const server = await faultyServer((_request, response) => {
        response.writeHead(status, { "content-type": "application/xml", "x-ms-error-code": code });
        response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>as ${code} reads</Message></Error>`);
      });
      const config = { connectionString: connectionString(server.address), container: "uploads" };
      await assert.rejects(new AzureBlobStorage(config, SHORT_MS).put("tenant/file", Readable.from(["hello"])), ({ message }: Error) => {
        assert.match(message, words);
        assert.match(message, /^http:\/\/127\.0\.0\.1:\d+\/testaccount\/uploads: /);
        assert.ok(!message.includes(AZURE_ACCOUNT.key));
        return true;
      });
      server.close();
    }
  });

  test("a shared access signature shows in no message", async () => {
    const string = "BlobEndpoint=http://127.0.0.1:1/account;SharedAccessSignature=sv=2024-11-04&sig=hunter2hunter2";
    const storage = new AzureBlobStorage({ connectionString: string, container: "uploads" }, SHORT_MS);
    assert.equal(storage.location, "http://127.0.0.1:1/account/uploads");
    await assert.rejects(storage.check(), (error: Error) => {
      for (let layer: unknown = error; layer instanceof Error; layer = layer.cause) assert.doesNotMatch(`${layer.message}\n${layer.stack}`, /hunter2/);
      return true;
    });
  });
});
