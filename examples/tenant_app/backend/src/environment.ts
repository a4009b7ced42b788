import { readFileSync } from "node:fs";
import { isAbsolute } from "node:path";

/** What sysexits.h calls a fault of the configuration: service managers are told not to restart on it. */
const EX_CONFIG = 78;

export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads variables and collects every fault, so that an operator mends them all at once and not one a start. */
export class EnvironmentReader {
  readonly faults: string[] = [];

  constructor(private readonly environment: Environment) {}

  /** An empty value counts as unset: that is how an EnvironmentFile or a compose file switches a variable off. */
  private raw(name: string): string | undefined {
    const value = this.environment[name];
    return value === undefined || value === "" ? undefined : value;
  }

  private fault(name: string, seen: string, remedy: string): void {
    this.faults.push(`${name}: ${seen}; ${remedy}`);
  }

  optionalText(name: string): string | undefined {
    return this.raw(name);
  }

  text(name: string, fallback: string): string {
    return this.raw(name) ?? fallback;
  }

  integer(name: string, fallback: number, min: number, max: number): number {
    const raw = this.raw(name);
    if (raw === undefined) return fallback;
    const value = Number(raw);
    if (/^\d+$/.test(raw) && value >= min && value <= max) return value;
    this.fault(name, `"${raw}" is not accepted`, `set a whole number from ${min} to ${max}`);
    return fallback;
  }

  choice<T extends string>(name: string, fallback: T, choices: readonly T[]): T {
    const raw = this.raw(name);
    if (raw === undefined) return fallback;
    const found = choices.find((choice) => choice === raw);
    if (found === undefined) this.fault(name, `"${raw}" is not known`, `set one of ${choices.join(", ")}`);
    return found ?? fallback;
  }

  /** Text of one shape, which the remedy describes. */
  matching(name: string, pattern: RegExp, remedy: string): string {
    const raw = this.raw(name);
    if (raw !== undefined && pattern.test(raw)) return raw;
    this.fault(name, raw === undefined ? "is not set" : `"${raw}" is not accepted`, remedy);
    return "";
  }

  optionalAbsolutePath(name: string): string | undefined {
    const raw = this.raw(name);
    if (raw === undefined || isAbsolute(raw)) return raw;
    this.fault(name, `"${raw}" is relative`, "set an absolute path");
    return undefined;
  }

  absolutePath(name: string): string {
    if (this.raw(name) === undefined) this.fault(name, "is not set", "set an absolute path");
    return this.optionalAbsolutePath(name) ?? "/";
  }

  /** The address of a service. One with a password in it is not shown: that belongs in a secret. */
  optionalHttpUrl(name: string): string | undefined {
    const raw = this.raw(name);
    if (raw === undefined) return undefined;
    const url = URL.canParse(raw) ? new URL(raw) : undefined;
    const remedy = "set http:// or https://, a host, and a port if it needs one, nothing else";
    const isBare = url !== undefined && /^https?:$/.test(url.protocol) && url.pathname + url.search + url.hash === "/";
    const hasUser = url !== undefined && (url.username !== "" || url.password !== "");
    if (isBare && !hasUser) return url.origin;
    this.fault(name, hasUser ? "an address with a user in it" : `"${raw}" is not accepted`, remedy);
    return undefined;
  }

  list(name: string, fallback: readonly string[], accepts: (item: string) => boolean, remedy: string): string[] {
    const raw = this.raw(name);
    if (raw === undefined) return [...fallback];
    const items = raw.split(",").map((item) => item.trim());
    for (const item of items.filter((item) => !accepts(item))) this.fault(name, `"${item}" is not accepted`, remedy);
    return items;
  }

  /** A secret comes from NAME, or from the file that NAME_FILE names. Its value never reaches a message. */
  optionalSecret(name: string, minimumBytes = 1): string | undefined {
    const direct = this.raw(name);
    const path = this.raw(`${name}_FILE`);
    if (direct !== undefined && path !== undefined) {
      this.fault(name, `is set, and so is ${name}_FILE ("${path}")`, "set only one of them");
      return undefined;
    }
    let value = direct;
    if (path !== undefined) {
      try {
        value = readFileSync(path, "utf8").replace(/\r?\n$/, "");
      } catch (error) {
        this.fault(`${name}_FILE`, `"${path}" cannot be read (${(error as NodeJS.ErrnoException).code})`, "name a readable file");
        return undefined;
      }
    }
    if (value === undefined) return undefined;
    const bytes = Buffer.byteLength(value);
    if (bytes >= minimumBytes) return value;
    this.fault(path === undefined ? name : `${name}_FILE`, `a secret of ${bytes} bytes`, `set at least ${minimumBytes} bytes`);
    return undefined;
  }

  secret(name: string, minimumBytes = 1): string {
    const faultsBefore = this.faults.length;
    const value = this.optionalSecret(name, minimumBytes);
    if (value === undefined && this.faults.length === faultsBefore) {
      this.fault(name, "is not set", `set it, or ${name}_FILE to the path of a file that holds it`);
    }
    return value ?? "";
  }

  /** Whether a secret is set, in one way or the other. */
  hasSecret(name: string): boolean {
    return this.raw(name) !== undefined || this.raw(`${name}_FILE`) !== undefined;
  }

  /** Addresses of databases carry a password, so they are secrets too. */
  optionalDatabaseUrl(name: string): string | undefined {
    const value = this.optionalSecret(name);
    if (value === undefined || /^postgres(ql)?:\/\/./.test(value)) return value;
    this.fault(name, `a secret of ${Buffer.byteLength(value)} bytes that is no address`, "set postgresql://user:password@host:port/database");
    return undefined;
  }

  /** What Azure's portal calls a connection string, in either of its shapes: an account with its key, or an address with a signature. */
  azureConnectionString(name: string): string {
    const value = this.secret(name);
    const has = (key: string, shape = "[^;]"): boolean => new RegExp(`(^|;)${key}=${shape}`).test(value);
    const hasAddress = has("BlobEndpoint", "https?://[^;/?#]");
    const hasAccount = has("DefaultEndpointsProtocol", "https?(;|$)") && has("AccountName") && has("AccountKey") && (hasAddress || has("EndpointSuffix"));
    if (value === "" || hasAccount || (hasAddress && has("SharedAccessSignature"))) return value;
    const remedy = "set DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…;EndpointSuffix=… or BlobEndpoint=…;SharedAccessSignature=…";
    this.fault(name, `a secret of ${Buffer.byteLength(value)} bytes that is no connection string`, remedy);
    return "";
  }

  databaseUrl(name: string): string {
    const faultsBefore = this.faults.length;
    const value = this.optionalDatabaseUrl(name);
    if (value === undefined && this.faults.length === faultsBefore) {
      this.fault(name, "is not set", `set postgresql://user:password@host:port/database, or ${name}_FILE to the path of a file that holds it`);
    }
    return value ?? "";
  }
}

/** Reads a configuration from the process' environment, or says everything that is wrong with it and ends the process. */
export function readConfigOrExit<T>(read: (reader: EnvironmentReader) => T): T {
  const reader = new EnvironmentReader(process.env);
  const config = read(reader);
  if (reader.faults.length === 0) return config;
  process.stderr.write(reader.faults.map((fault) => `${fault}\n`).join(""));
  process.exit(EX_CONFIG);
}
