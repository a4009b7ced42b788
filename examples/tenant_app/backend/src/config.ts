import { isIP } from "node:net";
import { hostname } from "node:os";
import { isAbsolute } from "node:path";
import type { EnvironmentReader } from "./environment.js";

export interface DatabaseConfig {
  url: string;
  replicaUrl: string | undefined;
  poolSize: number;
  connectTimeoutMs: number;
  queryTimeoutMs: number;
  /** How long one request may go on trying, all tries together. */
  budgetMs: number;
  /** A replica has everything that is older than this. */
  replicaLagMs: number;
}

export interface S3Config {
  bucket: string;
  /** None is AWS. */
  endpoint: string | undefined;
  region: string;
  /** None is what AWS gives the host itself. */
  credentials: { accessKeyId: string; secretAccessKey: string } | undefined;
  /** How long a link that passes the application by lets a file be read; 0 is no such links. */
  linkSeconds: number;
}

export interface AzureBlobConfig {
  connectionString: string;
  container: string;
}

export const STORAGE_DRIVERS = ["local", "s3", "azure_blob"] as const;
export type StorageDriverName = (typeof STORAGE_DRIVERS)[number];

/** The driver that is meant, and all that are configured: the setting may choose another of them. */
export interface StorageConfig {
  driver: StorageDriverName;
  localPath: string | undefined;
  allowedRoots: string[];
  s3: S3Config | undefined;
  azureBlob: AzureBlobConfig | undefined;
  /** How long one request to S3 or Azure may take, its second try included. */
  requestTimeoutMs: number;
}

export interface ServerConfig {
  host: string;
  port: number;
  instanceName: string;
  trustedProxies: string[];
  logLevel: (typeof LOG_LEVELS)[number];
  database: DatabaseConfig;
  storage: StorageConfig;
  jwtSecret: string;
  jwtTtlSeconds: number;
  uploadMaxBytes: number;
  drainDelayMs: number;
  drainTimeoutMs: number;
  readyOverrideFile: string | undefined;
  readyCheckTimeoutMs: number;
}

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

export function readDatabaseConfig(env: EnvironmentReader): DatabaseConfig {
  return {
    url: env.databaseUrl("DATABASE_URL"),
    replicaUrl: env.optionalDatabaseUrl("DATABASE_REPLICA_URL"),
    poolSize: env.integer("DATABASE_POOL_SIZE", 5, 1, 500),
    connectTimeoutMs: env.integer("DATABASE_CONNECT_TIMEOUT_MS", 2_000, 100, 60_000),
    queryTimeoutMs: env.integer("DATABASE_QUERY_TIMEOUT_MS", 2_000, 100, 600_000),
    budgetMs: env.integer("DATABASE_BUDGET_MS", 2_500, 100, 600_000),
    replicaLagMs: env.integer("DATABASE_REPLICA_LAG_MS", 15_000, 0, 3_600_000),
  };
}

export function readStorageConfig(env: EnvironmentReader): StorageConfig {
  const driver = env.choice("STORAGE_DRIVER", "local", STORAGE_DRIVERS);
  const wants = (name: StorageDriverName, variable: string): boolean => driver === name || env.optionalText(variable) !== undefined;
  return {
    driver,
    localPath: driver === "local" ? env.absolutePath("STORAGE_LOCAL_PATH") : env.optionalAbsolutePath("STORAGE_LOCAL_PATH"),
    allowedRoots: env.list("STORAGE_ALLOWED_ROOTS", ["/srv", "/mnt"], isAbsolute, "set absolute paths, separated by commas"),
    s3: wants("s3", "STORAGE_S3_BUCKET") ? readS3Config(env) : undefined,
    azureBlob: wants("azure_blob", "STORAGE_AZURE_CONTAINER") ? readAzureBlobConfig(env) : undefined,
    // Half of it for each of two tries: MinIO without a node that has just lost its power answers after some 7 s, and a shorter try fails what was about to be stored.
    requestTimeoutMs: env.integer("STORAGE_REQUEST_TIMEOUT_MS", 25_000, 1_000, 600_000),
  };
}

function readS3Config(env: EnvironmentReader): S3Config {
  const name = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
  const bucket = env.matching("STORAGE_S3_BUCKET", name, "set a bucket's name: 3 to 63 small letters, digits, dots or dashes");
  const endpoint = env.optionalHttpUrl("STORAGE_S3_ENDPOINT");
  const region = env.text("STORAGE_S3_REGION", "us-east-1");
  // AWS may give a host its own credentials; a server of one's own cannot.
  const hasKey = endpoint !== undefined || env.hasSecret("STORAGE_S3_ACCESS_KEY_ID") || env.hasSecret("STORAGE_S3_SECRET_ACCESS_KEY");
  const credentials = hasKey
    ? { accessKeyId: env.secret("STORAGE_S3_ACCESS_KEY_ID"), secretAccessKey: env.secret("STORAGE_S3_SECRET_ACCESS_KEY") }
    : undefined;
  // S3 takes no signature for longer than a week.
  return { bucket, endpoint, region, credentials, linkSeconds: env.integer("STORAGE_S3_LINK_SECONDS", 0, 0, 604_800) };
}

function readAzureBlobConfig(env: EnvironmentReader): AzureBlobConfig {
  const name = /^(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/;
  return {
    container: env.matching("STORAGE_AZURE_CONTAINER", name, "set a container's name: 3 to 63 small letters, digits or single dashes"),
    connectionString: env.azureConnectionString("STORAGE_AZURE_CONNECTION_STRING"),
  };
}

export function readServerConfig(env: EnvironmentReader): ServerConfig {
  const port = env.integer("PORT", 3000, 1, 65_535);
  return {
    host: env.text("HOST", "127.0.0.1"),
    port,
    instanceName: env.text("INSTANCE_NAME", `${hostname()}-${port}`),
    trustedProxies: env.list("TRUSTED_PROXIES", [], isAddressOrNetwork, "set addresses or networks such as 192.0.2.0/24, separated by commas"),
    logLevel: env.choice("LOG_LEVEL", "info", LOG_LEVELS),
    database: readDatabaseConfig(env),
    storage: readStorageConfig(env),
    jwtSecret: env.secret("JWT_SECRET", 32),
    jwtTtlSeconds: env.integer("JWT_TTL_SECONDS", 28_800, 60, 2_592_000),
    uploadMaxBytes: env.integer("UPLOAD_MAX_BYTES", 104_857_600, 1, Number.MAX_SAFE_INTEGER),
    drainDelayMs: env.integer("DRAIN_DELAY_MS", 5_000, 0, 600_000),
    drainTimeoutMs: env.integer("DRAIN_TIMEOUT_MS", 30_000, 0, 3_600_000),
    readyOverrideFile: env.optionalText("READY_OVERRIDE_FILE"),
    readyCheckTimeoutMs: env.integer("READY_CHECK_TIMEOUT_MS", 1_800, 100, 60_000),
  };
}

export function readMigrateConfig(env: EnvironmentReader): { url: string } {
  return { url: env.optionalDatabaseUrl("DATABASE_DIRECT_URL") ?? env.databaseUrl("DATABASE_URL") };
}

export interface SeedConfig {
  database: DatabaseConfig;
  storage: StorageConfig;
  password: string;
  notesPerTenant: number;
}

export function readSeedConfig(env: EnvironmentReader): SeedConfig {
  return {
    database: readDatabaseConfig(env),
    storage: readStorageConfig(env),
    password: env.secret("SEED_PASSWORD", 8),
    notesPerTenant: env.integer("SEED_NOTES_PER_TENANT", 200, 0, 1_000_000),
  };
}

function isAddressOrNetwork(text: string): boolean {
  const [address = "", prefix, ...rest] = text.split("/");
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d+$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
}
