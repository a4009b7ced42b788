/** Answers to a write carry it, and who wants to read that write sends it back. */
export const READ_AFTER = "x-read-after";

/** What the header says: when the write was answered, in milliseconds since 1970. */
export function stampOf(now: number): string {
  return String(now);
}

/**
 * Whether the caller wrote so recently that a replica may not have it yet. Times beyond the window on either side are no times of ours:
 * who makes one up gets what anyone may have, reads from the primary, and not for ever.
 */
export function wroteRecently(header: string | string[] | undefined, windowMs: number, now: number): boolean {
  if (typeof header !== "string" || !/^\d{1,15}$/.test(header)) return false;
  return Math.abs(now - Number(header)) < windowMs;
}
