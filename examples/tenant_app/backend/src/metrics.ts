import type { FastifyInstance } from "fastify";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Database } from "./database.js";

/** Prometheus adds up the instances, so nothing here has to be shared between them. */
export function registerMetrics(app: FastifyInstance, database: Database): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];

  const total = new Counter({
    name: "http_requests_total", help: "Requests answered.", labelNames: ["route", "method", "status"], registers,
  });
  const duration = new Histogram({
    name: "http_request_duration_seconds", help: "Time from the first byte of a request to the last of its answer.",
    labelNames: ["route", "method", "status"], buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10], registers,
  });
  const inFlight = new Gauge({ name: "http_requests_in_flight", help: "Requests being worked on.", registers });
  new Gauge({
    name: "database_pool_connections", help: "Connections of the pool by state; waiting counts requests without one.",
    labelNames: ["pool", "state"], registers,
    collect() {
      for (const [pool, { totalCount, idleCount, waitingCount }] of database.pools) {
        this.set({ pool, state: "busy" }, totalCount - idleCount);
        this.set({ pool, state: "idle" }, idleCount);
        this.set({ pool, state: "waiting" }, waitingCount);
      }
    },
  });

  for (const metric of database.metrics) registry.registerMetric(metric);

  app.addHook("onRequest", async (_request, reply) => {
    inFlight.inc();
    // "close" follows every request, also one whose client went away before the answer.
    reply.raw.once("close", () => inFlight.dec());
  });
  app.addHook("onResponse", async (request, reply) => {
    // The route's pattern and not the address: ids in a label would grow the series without end.
    const labels = { route: request.routeOptions.url ?? "none", method: request.method, status: reply.statusCode };
    total.inc(labels);
    duration.observe(labels, reply.elapsedTime / 1_000);
  });
  return registry;
}
