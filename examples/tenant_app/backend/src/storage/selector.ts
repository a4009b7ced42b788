import { isAbsolute, normalize, sep } from "node:path";
import type { StorageConfig } from "../config.js";
import type { Database } from "../database.js";
import { AppError } from "../errors.js";
import type { Session } from "../session.js";
import type { StorageDriver } from "./driver.js";
import { LocalStorage } from "./local.js";

/** The row of platform_settings that overrides the environment for all instances. */
const SETTING = "storage";

/** Half of the five seconds within which a change must reach every instance. */
const REFRESH_MS = 2_500;

export interface StorageSetting {
  driver: "local";
  path: string;
}

/** Knows where uploads live right now: the setting in the database when there is one, else the environment. */
export class StorageSelector {
  private driver: StorageDriver;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly config: StorageConfig,
    private readonly database: Database,
  ) {
    this.driver = new LocalStorage(config.localPath);
  }

  current(): StorageDriver {
    return this.driver;
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
    const path = (row?.value as StorageSetting | undefined)?.path ?? this.config.localPath;
    if (path !== this.driver.location) this.driver = new LocalStorage(path);
  }

  /** Moves all instances to another place, once a file has been written and read there. The files do not move by themselves. */
  async change(setting: StorageSetting, database: Session): Promise<void> {
    const path = normalize(setting.path);
    if (!this.isAllowed(path)) {
      throw new AppError(422, "storage_path_refused", `The path must be absolute and lie below one of ${this.config.allowedRoots.join(", ")}.`);
    }
    const candidate = new LocalStorage(path);
    try {
      await candidate.check();
    } catch (error) {
      throw new AppError(422, "storage_not_writable", `A test file could not be written and read there: ${(error as Error).message}`);
    }
    const value = { driver: setting.driver, path };
    await database.write((primary) => primary.platformSetting.upsert({ where: { key: SETTING }, create: { key: SETTING, value }, update: { value } }));
    this.driver = candidate;
  }

  private isAllowed(path: string): boolean {
    if (!isAbsolute(path)) return false;
    return path === this.config.localPath || this.config.allowedRoots.some((root) => path.startsWith(root.endsWith(sep) ? root : root + sep));
  }
}
