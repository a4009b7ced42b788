import type { FastifyInstance } from "fastify";
import type { Registry } from "prom-client";
import type { Readiness } from "../readiness.js";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Asked every second or so by machines: logged at debug only. */
    quiet?: boolean;
  }
}

const config = { quiet: true };

export function healthRoutes(app: FastifyInstance, { readiness, registry }: { readiness: Readiness; registry: Registry }): void {
  app.get("/health/live", { config }, async () => ({ status: "alive" }));

  app.get("/health/ready", { config }, async (_request, reply) => {
    const { ready, reasons, checks } = await readiness.verdict();
    reply.code(ready ? 200 : 503).header("cache-control", "no-store");
    return ready ? { status: "ready", checks } : { status: "not ready", reasons, checks };
  });

  app.get("/metrics", { config }, async (_request, reply) => {
    reply.type(registry.contentType);
    return registry.metrics();
  });
}
