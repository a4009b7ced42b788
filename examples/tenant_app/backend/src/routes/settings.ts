import type { FastifyInstance } from "fastify";
import { STORAGE_DRIVERS } from "../config.js";
import type { Prisma } from "../generated/client.js";
import type { Session } from "../session.js";
import type { StorageSelector, StorageSetting } from "../storage/selector.js";

const settingsBody = {
  type: "object",
  minProperties: 1,
  maxProperties: 50,
  propertyNames: { pattern: "^[a-z][a-z0-9_.]{0,62}$" },
} as const;

const storageBody = {
  type: "object",
  required: ["driver"],
  additionalProperties: false,
  properties: {
    driver: { type: "string", enum: STORAGE_DRIVERS },
    path: { type: "string", minLength: 1, maxLength: 1024 },
  },
  // The other drivers have nothing that could be chosen here.
  if: { properties: { driver: { const: "local" } } },
  then: { required: ["path"] },
  else: { not: { required: ["path"] } },
} as const;

export function settingRoutes(app: FastifyInstance, storage: StorageSelector): void {
  app.get("/api/settings", { onRequest: app.require("settings:read") }, async ({ user, database }) => {
    return presentSettings(database, user.tenantId);
  });

  // Touches only the keys that are named; null removes one.
  app.put<{ Body: Record<string, Prisma.InputJsonValue | null> }>(
    "/api/settings",
    { onRequest: app.require("settings:write"), schema: { body: settingsBody } },
    async ({ user: { tenantId }, body, database }) => {
      await database.write((primary) => {
        const changes: Prisma.PrismaPromise<unknown>[] = Object.entries(body).map(([key, value]) =>
          value === null
            ? primary.tenantSetting.deleteMany({ where: { tenantId, key } })
            : primary.tenantSetting.upsert({ where: { tenantId_key: { tenantId, key } }, create: { tenantId, key, value }, update: { value } }),
        );
        return primary.$transaction(changes);
      });
      return presentSettings(database, tenantId);
    },
  );

  app.get("/api/settings/storage", { onRequest: app.require("storage:read") }, async () => presentStorage(storage));

  app.put<{ Body: StorageSetting }>(
    "/api/settings/storage",
    { onRequest: app.require("storage:manage"), schema: { body: storageBody } },
    async ({ body, user, log, database }) => {
      await storage.change(body, database);
      log.warn({ tenantId: user.tenantId, userId: user.sub, storage: body }, "the storage of all instances was changed");
      return presentStorage(storage);
    },
  );
}

async function presentSettings(database: Session, tenantId: string) {
  const rows = await database.read((client) => client.tenantSetting.findMany({ where: { tenantId }, orderBy: { key: "asc" } }));
  return { settings: Object.fromEntries(rows.map(({ key, value }) => [key, value])) };
}

async function presentStorage(storage: StorageSelector) {
  const driver = storage.current();
  const writeTest = await driver.check().then(
    () => ({ ok: true }),
    (error: Error) => ({ ok: false, reason: error.message }),
  );
  return { driver: storage.driverName, path: driver.location, choices: storage.choices, writeTest };
}
