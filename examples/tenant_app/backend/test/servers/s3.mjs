// An S3 server for tests: s3rver, and the two operations on unfinished uploads that it lacks.
// Usage: s3.mjs DIRECTORY [SECONDS], the latter being how far its clock is off. Says its address once it listens.
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";

const [directory, secondsOff = "0"] = process.argv.slice(2);
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...parts) {
    super(...(parts.length === 0 ? [Date.now()] : parts));
  }

  static now() {
    return RealDate.now() + Number(secondsOff) * 1_000;
  }
};
const { default: S3rver } = await import("s3rver");

const server = new S3rver({ directory, address: "127.0.0.1", port: 0, silent: true, vhostBuckets: false });
const uploadsOf = (bucket) => server.store.getResourcePath(bucket, undefined, "uploads");

// Around all of s3rver, so that it has looked at the signature and the bucket by the time it says that it knows no such operation.
server.middleware.unshift(async (ctx, next) => {
  // Node writes the true time there, as a server whose clock is off would not.
  const { writeHead } = ctx.res;
  ctx.res.writeHead = (...parts) => writeHead.apply(ctx.res.setHeader("date", new Date().toUTCString()), parts);
  try {
    await next();
  } catch (error) {
    const [, bucket] = ctx.path.split("/");
    if (error.code === "MethodNotAllowed" && ctx.method === "DELETE" && /^[0-9a-f]+$/.test(ctx.query.uploadId)) {
      await rm(join(uploadsOf(bucket), ctx.query.uploadId), { recursive: true });
      ctx.status = 204;
    } else if (error.code === "NotImplemented" && ctx.method === "GET" && "uploads" in ctx.query) {
      const ids = await readdir(uploadsOf(bucket)).catch(() => []);
      const uploads = ids.map(async (id) => `<Upload><Key>${await readFile(join(uploadsOf(bucket), id, "key"), "utf8")}</Key><UploadId>${id}</UploadId></Upload>`);
      ctx.type = "application/xml";
      ctx.body = `<ListMultipartUploadsResult>${(await Promise.all(uploads)).join("")}</ListMultipartUploadsResult>`;
    } else throw error;
  }
});

const { port } = await server.run();
console.log(`http://127.0.0.1:${port}`);
