import { TtlCache } from "../cache.js";
import type { Role } from "../generated/enums.js";
import type { Session } from "../session.js";

export const PERMISSIONS = [
  "notes:read", "notes:write", "uploads:read", "uploads:write", "settings:read", "settings:write", "storage:read", "storage:manage",
] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** A change of permissions reaches every instance within this time. */
const CACHE_MS = 5_000;

/** What each role of a tenant may do. Every request asks, so the answers are kept for a few seconds. */
export class PermissionStore {
  private readonly cache = new TtlCache<ReadonlySet<string>>(CACHE_MS);

  of(database: Session, tenantId: string, role: Role): Promise<ReadonlySet<string>> {
    return this.cache.get(`${tenantId}/${role}`, async () => {
      const rows = await database.read((client) => client.rolePermission.findMany({ where: { tenantId, role }, select: { permission: true } }));
      return new Set(rows.map((row) => row.permission));
    });
  }
}
