/** A fault that the client may read about: everything else becomes a bare 500. */
export class AppError extends Error {
  constructor(
    readonly statusCode: number,
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export function notFound(what: string): AppError {
  return new AppError(404, "not_found", `There is no such ${what}.`);
}

export const UNAVAILABLE_TEXT = "The database cannot be reached right now; try again.";

/**
 * SQLSTATE classes that mean "not now" rather than "wrong": connection failures (08), refused logins during a failover
 * (28), too many connections (53), shutdown and recovery (57P), and a write that met a standby (25006).
 */
const UNAVAILABLE_SQLSTATE = /^(08...|28...|53...|57P..|25006)$/;

/** Prisma's own codes for a database that cannot be reached, is too slow, closed the connection or is full. */
const UNAVAILABLE_PRISMA = new Set(["P1000", "P1001", "P1002", "P1008", "P1011", "P1017", "P2024", "P2037"]);

const UNAVAILABLE_SYSTEM = new Set([
  "ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND", "EAI_AGAIN", "EPIPE", "ETIMEDOUT", "ENOENT",
]);

/** The errors of pg that carry no code. */
const UNAVAILABLE_MESSAGE = /^(Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error)/;

/** Serialization failures and deadlocks: the server undid the transaction, and to do it again is the remedy. A standby says so of a query in its way. */
const CONFLICT = new Set(["40001", "40P01", "P2034"]);

/**
 * SQLSTATEs after which nothing of the transaction stays: no session came about (08001, 08004, 28, 53300, 57P03), the server refused the
 * write (25006), or it ended the session before the commit (57P01; terminated while it waits for its standbys, it says nothing at all).
 */
const UNDONE_SQLSTATE = /^(08001|08004|28...|53300|57P01|57P03|25006)$/;

/** The same as Prisma says it: no login, no server, too many connections. */
const UNDONE_PRISMA = new Set(["P1000", "P1001", "P2037"]);

const UNDONE_SYSCALL = new Set(["connect", "getaddrinfo"]);

/** What pg says of a connection that did not come about, and what PgBouncer (as 08P01) of a query for which it found no server. */
const UNDONE_MESSAGE =
  /^(timeout exceeded when trying to connect|Connection terminated due to connection timeout|server login has been failing|query_wait_timeout|client_login_timeout|no such database)/;

/** PgBouncer's 3D000 means that it has nowhere to send a query to. */
const NO_SUCH_POOL = "3D000";

interface Layer {
  codes: readonly string[];
  messages: readonly string[];
  syscall: unknown;
}

/** Prisma wraps what pg says, so a fault shows in one of several layers. */
function layersOf(error: unknown): Layer[] {
  const layers: Layer[] = [];
  const isText = (value: unknown): value is string => typeof value === "string";
  for (let current = error; current instanceof Object && layers.length < 5; ) {
    const { code, originalCode, message, originalMessage, syscall, cause, meta } = current as Record<string, unknown>;
    layers.push({ codes: [code, originalCode].filter(isText), messages: [message, originalMessage].filter(isText), syscall });
    current = cause ?? (meta as { driverAdapterError?: unknown } | undefined)?.driverAdapterError;
  }
  return layers;
}

/** True when the database is to blame and a later try may succeed. */
export function isDatabaseUnavailable(error: unknown): boolean {
  return layersOf(error).some(
    ({ codes, messages }) =>
      codes.some((code) => UNAVAILABLE_SQLSTATE.test(code) || UNAVAILABLE_PRISMA.has(code) || UNAVAILABLE_SYSTEM.has(code) || code === NO_SUCH_POOL) ||
      messages.some((message) => UNAVAILABLE_MESSAGE.test(message)),
  );
}

export function isConflict(error: unknown): boolean {
  return layersOf(error).some(({ codes }) => codes.some((code) => CONFLICT.has(code)));
}

/** True when a failed transaction has surely left nothing behind. After a timeout or a broken connection nobody knows. */
export function isSurelyUndone(error: unknown): boolean {
  return layersOf(error).some(
    ({ codes, messages, syscall }) =>
      codes.some((code) => CONFLICT.has(code) || UNDONE_SQLSTATE.test(code) || UNDONE_PRISMA.has(code) || code === NO_SUCH_POOL) ||
      UNDONE_SYSCALL.has(String(syscall)) ||
      messages.some((message) => UNDONE_MESSAGE.test(message)),
  );
}

/** Prisma's codes: a unique constraint was violated; the record to change does not exist. */
export function isUniqueViolation(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "P2002";
}

export function isMissingRecord(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "P2025";
}
