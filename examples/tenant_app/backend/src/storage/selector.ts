import { isAbsolute, normalize, sep } from "node:path";
import type { Readable } from "node:stream";
import { STORAGE_DRIVERS, type StorageConfig, type StorageDriverName } from "../config.js";
import type { Database } from "../database.js";
import { AppError } from "../errors.js";
import type { Session } from "../session.js";
import type { StorageDriver } from "./driver.js";
import { LocalStorage } from "./local.js";

/** The row of platform_settings that overrides the environment for all instances. */
const SETTING = "storage";

/**
 * A change must reach every instance within five seconds, a slow query included. When uploads are moved nobody writes until all follow, so it is
 * sooner: one row by its key costs the database less than the health checks do.
 */
const REFRESH_MS = 750;

/** Only a path is a matter of the setting. Where the others put files, and with which key, is each instance's configuration. */
export interface StorageSetting {
  driver: StorageDriverName;
  path?: string;
}

/** Knows where uploads live right now: the setting in the database when there is one, else the environment. */
export class StorageSelector {
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly config: StorageConfig,
    private readonly database: Database,
    private setting: StorageSetting,
    private driver: StorageDriver,
  ) {}

  /** Begins with the place that the environment names. */
  static async open(config: StorageConfig, database: Database): Promise<StorageSelector> {
    const setting = settingOf(config);
    return new StorageSelector(config, database, setting, await openDriver(setting, config));
  }

  current(): StorageDriver {
    return this.driver;
  }

  get driverName(): StorageDriverName {
    return this.setting.driver;
  }

  /** The drivers that the setting may name: a path can always be given, the others want their configuration. */
  get choices(): StorageDriverName[] {
    const configured: Record<StorageDriverName, boolean> = { local: true, s3: this.config.s3 !== undefined, azure_blob: this.config.azureBlob !== undefined };
    return STORAGE_DRIVERS.filter((name) => configured[name]);
  }

  /** Follows changes until `stop`. While the database is away the last known place stays. */
  async start(onError: (error: unknown) => void): Promise<void> {
    const refresh = async (): Promise<void> => {
      await this.refresh().catch(onError);
      this.timer = setTimeout(refresh, REFRESH_MS).unref();
    };
    await refresh();
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  /** Asks the primary, because a replica may not have heard of the change yet. */
  async refresh(): Promise<void> {
    const row = await this.database.primary.platformSetting.findUnique({ where: { key: SETTING } });
    const setting = (row?.value as StorageSetting | undefined) ?? settingOf(this.config);
    if (setting.driver !== this.setting.driver || setting.path !== this.setting.path) await this.follow(setting);
  }

  /** Moves all instances to another place, once a file has been written and read there. The files do not move by themselves. */
  async change(wanted: StorageSetting, database: Session): Promise<void> {
    const setting: StorageSetting = wanted.path === undefined ? wanted : { ...wanted, path: normalize(wanted.path) };
    if (setting.path !== undefined && !this.isAllowed(setting.path)) {
      throw new AppError(422, "storage_path_refused", `The path must be absolute and lie below one of ${this.config.allowedRoots.join(", ")}.`);
    }
    const candidate = await openDriver(setting, this.config);
    try {
      await candidate.check();
    } catch (error) {
      throw new AppError(422, "storage_not_writable", `A test file could not be written and read there: ${(error as Error).message}`);
    }
    const value = { ...setting };
    await database.write((primary) => primary.platformSetting.upsert({ where: { key: SETTING }, create: { key: SETTING, value }, update: { value } }));
    this.setting = setting;
    this.driver = candidate;
  }

  private async follow(setting: StorageSetting): Promise<void> {
    this.driver = await openDriver(setting, this.config);
    this.setting = setting;
  }

  private isAllowed(path: string): boolean {
    if (!isAbsolute(path)) return false;
    return path === this.config.localPath || this.config.allowedRoots.some((root) => path.startsWith(root.endsWith(sep) ? root : root + sep));
  }
}

function settingOf({ driver, localPath }: StorageConfig): StorageSetting {
  return driver === "local" && localPath !== undefined ? { driver, path: localPath } : { driver };
}

/** The kits of S3 and Azure are loaded only where they are used: each costs some 0.3 s of a start and 15 MB. */
async function openDriver({ driver, path }: StorageSetting, { s3, azureBlob, requestTimeoutMs }: StorageConfig): Promise<StorageDriver> {
  if (driver === "local" && path !== undefined) return new LocalStorage(path);
  if (driver === "s3" && s3 !== undefined) {
    const { S3Storage } = await import("./s3.js");
    return new S3Storage(s3, requestTimeoutMs);
  }
  if (driver === "azure_blob" && azureBlob !== undefined) {
    const { AzureBlobStorage } = await import("./azure_blob.js");
    return new AzureBlobStorage(azureBlob, requestTimeoutMs);
  }
  return new MissingStorage(driver);
}

/** Where the setting names a driver that this instance has no configuration for: an upload that went elsewhere would be lost to the others. */
class MissingStorage implements StorageDriver {
  readonly location: string;

  constructor(driver: string) {
    this.location = driver;
  }

  put(_key: string, content: Readable): Promise<void> {
    content.destroy();
    return this.refuse();
  }

  get(): Promise<Readable> {
    return this.refuse();
  }

  delete(): Promise<void> {
    return this.refuse();
  }

  check(): Promise<void> {
    return this.refuse();
  }

  private async refuse(): Promise<never> {
    throw new Error(`this instance has no configuration for the storage "${this.location}": set its STORAGE_ variables`);
  }
}
