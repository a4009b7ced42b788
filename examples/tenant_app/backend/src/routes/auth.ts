import { randomUUID } from "node:crypto";
import type { FastifyInstance } from "fastify";
import { verifyNothing, verifyPassword } from "../auth/password.js";
import type { PermissionStore } from "../auth/permissions.js";
import type { RevocationList } from "../auth/revocation.js";
import { AppError } from "../errors.js";

interface Credentials {
  tenant: string;
  email: string;
  password: string;
}

const credentials = {
  type: "object",
  required: ["tenant", "email", "password"],
  additionalProperties: false,
  properties: {
    tenant: { type: "string", minLength: 1, maxLength: 63 },
    email: { type: "string", minLength: 3, maxLength: 254 },
    password: { type: "string", minLength: 1, maxLength: 1024 },
  },
} as const;

export function authRoutes(
  app: FastifyInstance,
  { permissions, revocation, ttlSeconds }: { permissions: PermissionStore; revocation: RevocationList; ttlSeconds: number },
): void {
  app.post<{ Body: Credentials }>("/api/auth/login", { schema: { body: credentials } }, async ({ body, database }) => {
    // A second look at the primary would tell, by its time, that there is no such account.
    const user = await database.read((client) =>
      client.user.findFirst({
        where: { email: body.email.toLowerCase(), tenant: { slug: body.tenant.toLowerCase() } },
        select: { id: true, tenantId: true, role: true, passwordHash: true },
      }),
    );
    const accepted = user === null ? await verifyNothing(body.password) : await verifyPassword(body.password, user.passwordHash);
    if (user === null || !accepted) throw new AppError(401, "invalid_credentials", "Tenant, email or password is wrong.");
    const accessToken = app.jwt.sign({ sub: user.id, tenantId: user.tenantId, role: user.role, jti: randomUUID() });
    return { accessToken, tokenType: "Bearer", expiresIn: ttlSeconds };
  });

  app.post("/api/auth/logout", { onRequest: app.authenticate }, async ({ user }, reply) => {
    await revocation.revoke(user.jti, new Date(user.exp * 1_000));
    return reply.code(204).send();
  });

  app.get("/api/me", { onRequest: app.authenticate }, async ({ user, database }) => {
    const found = await database.find((client) =>
      client.user.findFirst({
        where: { id: user.sub, tenantId: user.tenantId },
        select: { id: true, email: true, name: true, role: true, tenant: { select: { id: true, slug: true, name: true } } },
        relationLoadStrategy: "join",
      }),
    );
    if (found === null) throw new AppError(401, "unauthenticated", "The account of this token does not exist any more.");
    return found;
  });

  app.get("/api/permissions", { onRequest: app.authenticate }, async ({ user, database }) => {
    const granted = await permissions.of(database, user.tenantId, user.role);
    return { role: user.role, permissions: [...granted].sort() };
  });
}
