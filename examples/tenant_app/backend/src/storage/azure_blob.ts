import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { BlobServiceClient, type ContainerClient, type RestError } from "@azure/storage-blob";
import type { AzureBlobConfig } from "../config.js";
import { StoredFileMissing, type StorageDriver } from "./driver.js";
import { connectionFault, PART_BYTES, patient, piecesOf, probe, TRIES, within } from "./remote.js";

/** Block blobs of one container of an Azure storage account. */
export class AzureBlobStorage implements StorageDriver {
  readonly location: string;
  private readonly container: ContainerClient;

  constructor(
    { connectionString, container }: AzureBlobConfig,
    private readonly limitMs: number,
  ) {
    const retryOptions = { maxTries: TRIES, retryDelayInMs: 200, maxRetryDelayInMs: 1_000 };
    this.container = BlobServiceClient.fromConnectionString(connectionString, { retryOptions }).getContainerClient(container);
    // The address may carry a shared access signature.
    const { origin, pathname } = new URL(this.container.url);
    this.location = origin + pathname;
  }

  /** A blob comes into being with the list of its blocks. Blocks without one are never read, and Azure drops them after a week. */
  async put(key: string, content: Readable): Promise<void> {
    const blob = this.container.getBlockBlobClient(key);
    const blocks: string[] = [];
    try {
      for await (const piece of piecesOf(content, PART_BYTES)) {
        // Azure wants ids of one length.
        const id = Buffer.from(String(blocks.length).padStart(6, "0")).toString("base64");
        await within(this.limitMs, (abortSignal) => blob.stageBlock(id, piece, piece.length, { abortSignal }));
        blocks.push(id);
      }
      await within(this.limitMs, (abortSignal) => blob.commitBlockList(blocks, { abortSignal }));
    } catch (error) {
      content.destroy();
      // What broke off on its way here is no fault of the storage.
      throw error === content.errored ? error : this.explain(error);
    }
  }

  async get(key: string): Promise<Readable> {
    try {
      const blob = this.container.getBlockBlobClient(key);
      const answer = await within(this.limitMs, (abortSignal) => blob.download(0, undefined, { abortSignal, maxRetryRequests: TRIES - 1 }));
      return patient(answer.readableStreamBody as Readable, this.limitMs, (error) => this.explain(error));
    } catch (error) {
      if ((error as RestError).code === "BlobNotFound") throw new StoredFileMissing(key, { cause: error });
      throw this.explain(error);
    }
  }

  async delete(key: string): Promise<void> {
    try {
      await within(this.limitMs, (abortSignal) => this.container.getBlockBlobClient(key).deleteIfExists({ abortSignal }));
    } catch (error) {
      throw this.explain(error);
    }
  }

  async check(): Promise<void> {
    const { container } = this;
    try {
      await probe({
        write: async (key, token, abortSignal) => {
          await container.getBlockBlobClient(key).upload(token, Buffer.byteLength(token), { abortSignal });
          // The version that is current cannot be removed by its name: a rule of the account's life cycle clears what remains.
          return undefined;
        },
        read: async (key, abortSignal) => text((await container.getBlockBlobClient(key).download(0, undefined, { abortSignal })).readableStreamBody!),
        remove: async (key, _version, abortSignal) => {
          await container.getBlockBlobClient(key).delete({ abortSignal });
        },
      });
    } catch (error) {
      throw this.explain(error);
    }
  }

  private explain(error: unknown): Error {
    return new Error(`${this.location}: ${explainAzure(error)}`, { cause: error });
  }
}

/** What is wrong in an operator's words, with Azure's own name for it to look up. */
export function explainAzure(error: unknown): string {
  const { code, message, statusCode } = error as RestError;
  switch (code) {
    case "ContainerNotFound":
    case "ContainerBeingDeleted":
    case "ContainerDisabled":
      return `there is no such container (${code})`;
    case "AuthenticationFailed":
    case "InvalidAuthenticationInfo":
      return `the key is not accepted (${code}): it is another account's or has expired, or this host's clock is more than 15 minutes off`;
    case "AuthorizationFailure":
    case "AuthorizationPermissionMismatch":
    case "AuthorizationProtocolMismatch":
    case "AuthorizationSourceIPMismatch":
    case "InsufficientAccountPermissions":
    case "AccountIsDisabled":
      return `access to the container is refused (${code}): the account's firewall or the signature's permissions do not allow this`;
    case "ServerBusy":
    case "InternalError":
    case "OperationTimedOut":
      return `the storage is overloaded or not all there (${code})`;
    default:
      return connectionFault(error) ?? (statusCode === undefined ? message : `${message} (${code ?? "no code"}, status ${statusCode})`);
  }
}
