import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { hashPassword, verifyPassword } from "./auth/password.js";
import { PERMISSIONS, type Permission } from "./auth/permissions.js";
import type { Database } from "./database.js";
import { Role } from "./generated/enums.js";
import { StoredFileMissing, type StorageDriver } from "./storage/driver.js";
import { keyOf } from "./storage/uploads.js";
import { uuidv7 } from "./uuid.js";

const TENANTS = [
  { slug: "acme", name: "Acme Corporation" },
  { slug: "globex", name: "Globex Corporation" },
  { slug: "initech", name: "Initech" },
];

const READING: readonly Permission[] = ["notes:read", "uploads:read", "settings:read", "storage:read"];
const GRANTS: Readonly<Record<Role, readonly Permission[]>> = {
  owner: PERMISSIONS,
  editor: [...READING, "notes:write", "uploads:write"],
  viewer: READING,
};

const UPLOADS = [
  { name: "price-list.csv", contentType: "text/csv", size: 4_096 },
  { name: "handbook.txt", contentType: "text/plain", size: 65_536 },
  { name: "drawing.bin", contentType: "application/octet-stream", size: 262_144 },
];

const TOPICS = ["Invoice run", "Customer call", "Stock count", "Release plan", "Incident review", "Price change", "Team meeting", "Audit"];

/** Everything seeded is dated from here, a minute apart, so that a second run makes the same rows. */
const EPOCH = Date.UTC(2026, 1, 9, 9);

/** Rows of one INSERT: well below PostgreSQL's limit of 65,535 parameters. */
const BATCH = 1_000;

/** The same name always yields the same id. */
export function seededId(name: string, minute = 0): string {
  return uuidv7(EPOCH + minute * 60_000, createHash("sha256").update(name).digest());
}

/** Contents that look random, differ from file to file and never from run to run. */
export function seededContent(name: string, size: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(size / 64) }, (_, index) => createHash("sha256").update(`${name}/${index}`).digest("hex"));
  return Buffer.from(blocks.join("")).subarray(0, size);
}

/** Adds what is missing and touches nothing that users have made since; the password is set again if it differs. */
export async function seed(
  database: Database,
  storage: StorageDriver,
  options: { password: string; notesPerTenant: number },
): Promise<void> {
  const { primary } = database;
  for (const { slug, name } of TENANTS) {
    const tenantId = seededId(slug);
    await primary.tenant.createMany({ data: [{ id: tenantId, slug, name }], skipDuplicates: true });
    const createdBy = seededId(`${slug}/${Role.owner}`);

    for (const role of Object.values(Role)) await seedUser(database, tenantId, slug, role, options.password);
    await primary.rolePermission.createMany({
      data: Object.values(Role).flatMap((role) => GRANTS[role].map((permission) => ({ tenantId, role, permission }))),
      skipDuplicates: true,
    });
    await primary.tenantSetting.createMany({
      data: [
        { tenantId, key: "display_name", value: name },
        { tenantId, key: "language", value: "en-GB" },
        { tenantId, key: "invoice_day", value: 5 },
      ],
      skipDuplicates: true,
    });

    for (let first = 0; first < options.notesPerTenant; first += BATCH) {
      const numbers = Array.from({ length: Math.min(BATCH, options.notesPerTenant - first) }, (_, offset) => first + offset);
      await primary.note.createMany({ data: numbers.map((number) => seededNote(slug, number, { tenantId, createdBy })), skipDuplicates: true });
    }
    for (const [index, file] of UPLOADS.entries()) await seedUpload(database, storage, slug, { ...file, index, tenantId, createdBy });
  }
}

async function seedUser({ primary }: Database, tenantId: string, slug: string, role: Role, password: string): Promise<void> {
  const id = seededId(`${slug}/${role}`);
  const existing = await primary.user.findUnique({ where: { id } });
  if (existing !== null && (await verifyPassword(password, existing.passwordHash))) return;
  const passwordHash = await hashPassword(password);
  const name = `${role[0]!.toUpperCase()}${role.slice(1)} of ${slug}`;
  await primary.user.upsert({
    where: { id },
    create: { id, tenantId, email: `${role}@${slug}.example`, name, role, passwordHash },
    update: { passwordHash },
  });
}

function seededNote(slug: string, number: number, owner: { tenantId: string; createdBy: string }) {
  const at = new Date(EPOCH + number * 60_000);
  return {
    ...owner,
    id: seededId(`${slug}/note/${number}`, number),
    title: `${TOPICS[number % TOPICS.length]} ${number + 1}`,
    body: `Note ${number + 1} of ${slug}: what was agreed, who does it, and by when.`,
    createdAt: at,
    updatedAt: at,
  };
}

async function seedUpload(
  { primary }: Database,
  storage: StorageDriver,
  slug: string,
  upload: { name: string; contentType: string; size: number; index: number; tenantId: string; createdBy: string },
): Promise<void> {
  const { size, index, ...row } = upload;
  const id = seededId(`${slug}/upload/${row.name}`, index);
  const content = seededContent(`${slug}/${row.name}`, size);
  const key = keyOf(row.tenantId, id);
  if (!(await exists(storage, key))) await storage.put(key, Readable.from([content]));
  const sha256 = createHash("sha256").update(content).digest("hex");
  await primary.upload.createMany({ data: [{ ...row, id, size, sha256, createdAt: new Date(EPOCH + index * 60_000) }], skipDuplicates: true });
}

async function exists(storage: StorageDriver, key: string): Promise<boolean> {
  try {
    (await storage.get(key)).destroy();
    return true;
  } catch (error) {
    if (error instanceof StoredFileMissing) return false;
    throw error;
  }
}
