import { randomBytes, scrypt, timingSafeEqual, type ScryptOptions } from "node:crypto";
import { promisify } from "node:util";

const derive = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt);

/** 16 MiB and some tens of milliseconds a login: dear for someone who guesses, bearable for a small host. */
const COST = { N: 16_384, r: 8, p: 1 };
const KEY_BYTES = 32;

/** The cost travels with the hash, so that it can be raised without locking anyone out. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const key = await derive(password, salt, KEY_BYTES, COST);
  return ["scrypt", COST.N, COST.r, COST.p, salt.toString("base64url"), key.toString("base64url")].join("$");
}

export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  const [scheme, N, r, p, salt, key] = stored.split("$");
  if (scheme !== "scrypt" || salt === undefined || key === undefined) throw new Error("a stored password hash is malformed");
  const expected = Buffer.from(key, "base64url");
  const actual = await derive(password, Buffer.from(salt, "base64url"), expected.length, { N: Number(N), r: Number(r), p: Number(p) });
  return timingSafeEqual(actual, expected);
}

let decoy: Promise<string> | undefined;

/** Costs as much as a real verification, so that the time of an answer does not tell which accounts exist. */
export async function verifyNothing(password: string): Promise<false> {
  decoy ??= hashPassword("nobody's password");
  await verifyPassword(password, await decoy);
  return false;
}
