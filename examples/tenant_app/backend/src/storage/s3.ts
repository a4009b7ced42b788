import { Readable } from "node:stream";
import {
  DeleteObjectCommand, GetObjectCommand, PutObjectCommand, S3Client, type DeleteObjectCommandInput, type S3ServiceException,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import type { S3Config } from "../config.js";
import { StoredFileMissing, type Link, type Presentation, type StorageDriver } from "./driver.js";
import { connectionFault, noAnswer, PART_BYTES, patient, probe, TRIES } from "./remote.js";

/** Objects of one bucket, at AWS or in a server of one's own such as MinIO. */
export class S3Storage implements StorageDriver {
  readonly location: string;
  private readonly client: S3Client;
  private readonly bucket: string;
  private readonly linkSeconds: number;

  constructor(
    { bucket, endpoint, region, credentials, linkSeconds }: S3Config,
    private readonly limitMs: number,
  ) {
    this.bucket = bucket;
    this.linkSeconds = linkSeconds;
    this.location = endpoint === undefined ? `s3://${bucket}` : `${endpoint.replace(/\/$/, "")}/${bucket}`;
    // Every download under way holds a connection, so a limit would let slow readers shut out the health check.
    const agent = { keepAlive: true, maxSockets: Infinity };
    this.client = new S3Client({
      region,
      // A server of one's own seldom has a name in DNS for each bucket.
      ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
      // Without a key the SDK asks where AWS leaves one: the instance's role, for example.
      ...(credentials === undefined ? {} : { credentials }),
      maxAttempts: TRIES,
      requestHandler: { requestTimeout: limitMs / TRIES, throwOnRequestTimeout: true, httpAgent: agent, httpsAgent: agent },
      // It waits six seconds for a server that does not know the header, whatever the limits say.
      expectContinueHeader: false,
      // What is signed is hashed already, and servers that are not AWS may not know the newer checksums.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
    });
  }

  /** An object comes into being with the one request that completes it. What is broken off is aborted, so that no part stays either. */
  async put(key: string, content: Readable): Promise<void> {
    // Wrapped, because Upload takes a property of the stream that is called `size`, `length` or `path` for a promise of its length.
    const params = { Bucket: this.bucket, Key: key, Body: Readable.from(content) };
    try {
      // One part after the other: an abort that overtakes a part would leave it there.
      await new Upload({ client: this.client, params, partSize: PART_BYTES, queueSize: 1 }).done();
    } catch (error) {
      content.destroy();
      // What broke off on its way here is no fault of the storage.
      throw error === content.errored ? error : this.explain(error);
    }
  }

  async get(key: string): Promise<Readable> {
    try {
      const { Body } = await this.client.send(new GetObjectCommand({ Bucket: this.bucket, Key: key }));
      return patient(Body as Readable, this.limitMs, (error) => this.explain(error));
    } catch (error) {
      if ((error as Error).name === "NoSuchKey") throw new StoredFileMissing(key, { cause: error });
      throw this.explain(error);
    }
  }

  /** Signed here, without a question to the storage. How the file is to be taken is part of what is signed. */
  async link(key: string, { contentType, contentDisposition }: Presentation): Promise<Link | undefined> {
    if (this.linkSeconds === 0) return undefined;
    const command = new GetObjectCommand({
      Bucket: this.bucket, Key: key, ResponseContentType: contentType, ResponseContentDisposition: contentDisposition,
    });
    const expiresAt = new Date(Date.now() + this.linkSeconds * 1_000);
    try {
      return { url: await getSignedUrl(this.client, command, { expiresIn: this.linkSeconds }), expiresAt };
    } catch (error) {
      throw this.explain(error);
    }
  }

  async delete(key: string): Promise<void> {
    try {
      await this.client.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: key }));
    } catch (error) {
      throw this.explain(error);
    }
  }

  async check(): Promise<void> {
    const { client, bucket: Bucket } = this;
    try {
      await probe({
        write: async (Key, Body, abortSignal) => (await client.send(new PutObjectCommand({ Bucket, Key, Body }), { abortSignal })).VersionId,
        read: async (Key, abortSignal) => (await client.send(new GetObjectCommand({ Bucket, Key }), { abortSignal })).Body!.transformToString(),
        remove: async (Key, VersionId, abortSignal) => {
          const version: DeleteObjectCommandInput = { Bucket, Key, ...(VersionId === undefined ? {} : { VersionId }) };
          await client.send(new DeleteObjectCommand(version), { abortSignal });
        },
      });
    } catch (error) {
      throw this.explain(error);
    }
  }

  private explain(error: unknown): Error {
    return new Error(`${this.location}: ${explainS3(error, this.limitMs)}`, { cause: error });
  }
}

/** What is wrong in an operator's words, with S3's own name for it to look up. */
export function explainS3(error: unknown, limitMs: number): string {
  const { name, message, $metadata } = error as S3ServiceException;
  switch (name) {
    case "TimeoutError":
      // The SDK gives this name to a connection that broke too.
      return (error as { code?: string }).code === "ETIMEDOUT" ? noAnswer(limitMs) : (connectionFault(error) ?? message);
    case "NoSuchBucket":
      return `there is no such bucket (${name})`;
    case "AccessDenied":
    case "AllAccessDisabled":
      return `access to the bucket is refused (${name}): it belongs to somebody else, is not there, or the key's policy does not allow this`;
    case "InvalidAccessKeyId":
    case "SignatureDoesNotMatch":
    case "InvalidToken":
    case "ExpiredToken":
      return `the access key or its secret is not accepted (${name})`;
    case "CredentialsProviderError":
      return `no access key is set, and this host has no role that gives one (${name})`;
    case "RequestTimeTooSkewed":
      return `this host's clock and the storage's are more than 15 minutes apart (${name}): mend their time synchronisation`;
    case "PermanentRedirect":
    case "AuthorizationHeaderMalformed":
    case "IllegalLocationConstraintException":
      return `the bucket is in another region or at another endpoint (${name})`;
    case "SlowDown":
    case "ServiceUnavailable":
    case "InternalError":
      return `the storage is overloaded or not all there (${name})`;
    default:
      return connectionFault(error) ?? ($metadata === undefined ? message : `${message} (${name}, status ${$metadata.httpStatusCode})`);
  }
}
