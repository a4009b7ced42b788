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

/** True when the database is to blame and a later try may succeed. Prisma wraps what pg says, so the causes count too. */
export function isDatabaseUnavailable(error: unknown): boolean {
  for (let current = error, depth = 0; current instanceof Object && depth < 5; depth += 1) {
    const { code, originalCode, message, cause, meta } = current as {
      code?: unknown; originalCode?: unknown; message?: unknown; cause?: unknown; meta?: { driverAdapterError?: unknown };
    };
    for (const candidate of [code, originalCode]) {
      if (typeof candidate !== "string") continue;
      if (UNAVAILABLE_SQLSTATE.test(candidate) || UNAVAILABLE_PRISMA.has(candidate) || UNAVAILABLE_SYSTEM.has(candidate)) return true;
    }
    if (typeof message === "string" && UNAVAILABLE_MESSAGE.test(message)) return true;
    current = cause ?? meta?.driverAdapterError;
  }
  return false;
}

/** Prisma's codes: a unique constraint was violated; the record to change does not exist. */
export function isUniqueViolation(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "P2002";
}

export function isMissingRecord(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "P2025";
}
