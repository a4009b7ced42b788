import jwt from "@fastify/jwt";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { AppError } from "../errors.js";
import type { Role } from "../generated/enums.js";
import type { Permission, PermissionStore } from "./permissions.js";
import type { RevocationList } from "./revocation.js";

export interface Identity {
  sub: string;
  tenantId: string;
  role: Role;
  jti: string;
  exp: number;
}

declare module "@fastify/jwt" {
  interface FastifyJWT {
    payload: Omit<Identity, "exp">;
    user: Identity;
  }
}

declare module "fastify" {
  interface FastifyInstance {
    /** Hooks for routes: `authenticate` wants a valid token, `require(permission)` wants the permission too. */
    authenticate(request: FastifyRequest): Promise<void>;
    /** Who a token belongs to that came in another way than in a header. */
    identify(token: string): Promise<Identity>;
    require(permission: Permission): (request: FastifyRequest) => Promise<void>;
  }
}

/** How many verified tokens stay in memory: a signature is checked once and not on every request. Expiry is still looked at. */
const VERIFIED_TOKENS = 10_000;

export async function registerAuth(
  app: FastifyInstance,
  options: { secret: string; ttlSeconds: number; permissions: PermissionStore; revocation: RevocationList },
): Promise<void> {
  await app.register(jwt, {
    secret: options.secret,
    sign: { algorithm: "HS256", expiresIn: options.ttlSeconds },
    verify: { algorithms: ["HS256"], cache: VERIFIED_TOKENS },
  });

  const admit = async (verify: () => Identity | Promise<Identity>): Promise<Identity> => {
    let identity: Identity;
    try {
      identity = await verify();
    } catch (cause) {
      throw new AppError(401, "unauthenticated", "A valid access token is needed.", { cause });
    }
    if (await options.revocation.isRevoked(identity.jti)) {
      throw new AppError(401, "unauthenticated", "The access token has been revoked.");
    }
    return identity;
  };
  const authenticate = async (request: FastifyRequest): Promise<void> => {
    await admit(() => request.jwtVerify<Identity>());
  };
  app.decorate("authenticate", authenticate);
  app.decorate("identify", (token) => admit(() => app.jwt.verify<Identity>(token)));
  app.decorate("require", (permission) => async (request) => {
    await authenticate(request);
    const granted = await options.permissions.of(request.database, request.user.tenantId, request.user.role);
    if (!granted.has(permission)) throw new AppError(403, "forbidden", `This needs the permission ${permission}.`);
  });
}
