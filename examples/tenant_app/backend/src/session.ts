import { setTimeout as sleep } from "node:timers/promises";
import { AppError, isConflict, isDatabaseUnavailable, isSurelyUndone, UNAVAILABLE_TEXT } from "./errors.js";
import type { PrismaClient } from "./generated/client.js";
import type { ReplicaGate } from "./replica.js";

/**
 * Why a read went to the primary although there is a replica: it has to see what its caller wrote, the replicas are known to be away,
 * this read failed there, or it found nothing there.
 */
export const DETOURS = ["own_write", "away", "fault", "missing"] as const;
export type Detour = (typeof DETOURS)[number];

export interface SessionParts {
  /** Prisma's extension on the primary: it sends reads to the replica. */
  readonly client: PrismaClient;
  readonly primary: PrismaClient;
  /** Nothing where there is no replica. */
  readonly gate: ReplicaGate | undefined;
  readonly budgetMs: number;
  readonly onRead: (target: "primary" | "replica") => void;
  readonly onDetour: (reason: Detour) => void;
  readonly onRetry: (operation: "read" | "write") => void;
}

/** The longest pause after the first try; doubled with each one. The second half of a pause is chance, so that requests do not come back in step. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 400;

/** The request has no time left: not a fault to be tried again. */
class TimeUp extends AppError {}

/**
 * The database as one request sees it: where its reads go, what is tried again, and until when. What is still at work when the time is up
 * is left to its own limits; its answer goes nowhere, and whether a write of it was kept is not known.
 */
export class Session {
  private deadline = 0;
  private wroteHere = false;

  constructor(
    private readonly parts: SessionParts,
    /** The caller has written something that a replica may not have yet. */
    private readonly wroteBefore: boolean,
  ) {
    this.restartClock();
  }

  /** It wrote, or may have written, so a replica may lack that for a while. */
  get wrote(): boolean {
    return this.wroteHere;
  }

  /** For a request that was busy with something else: a slow upload must not use up the time for its row. */
  restartClock(): void {
    this.deadline = performance.now() + this.parts.budgetMs;
  }

  /** Runs reads, on the replica where that will do. They are repeated after any fault that passes. */
  async read<T>(work: (client: PrismaClient) => Promise<T>): Promise<T> {
    return (await this.readFrom(work, this.mustSeeOwnWrite())).found;
  }

  /** Looks for one row. A replica's "there is none" may be a "not yet", so the primary has the last word. */
  async find<T>(work: (client: PrismaClient) => Promise<T | null>): Promise<T | null> {
    const { found, onReplica } = await this.readFrom(work, this.mustSeeOwnWrite());
    if (found !== null || !onReplica) return found;
    this.parts.onDetour("missing");
    return (await this.readFrom(work, true)).found;
  }

  /**
   * Runs a write, and again after a fault that has surely left nothing of it. `harmless` says that a second run does no harm even if the
   * first one was kept, because a key of its own tells that; only then is it repeated when nobody knows.
   */
  async write<T>(work: (primary: PrismaClient) => Promise<T>, { harmless = false } = {}): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      try {
        const result = await this.inTime(work(this.parts.primary));
        this.wroteHere = true;
        return result;
      } catch (error) {
        const passes = isConflict(error) || isDatabaseUnavailable(error);
        const undone = isSurelyUndone(error);
        if ((passes && !undone) || error instanceof TimeUp) this.wroteHere = true;
        if (!passes || !(undone || harmless)) throw error;
        await this.pause(tries, error);
        this.parts.onRetry("write");
      }
    }
  }

  private mustSeeOwnWrite(): boolean {
    const { gate, onDetour } = this.parts;
    const must = this.wroteBefore || this.wroteHere;
    if (gate !== undefined && must) onDetour("own_write");
    else if (gate?.usable === false) onDetour("away");
    return must;
  }

  private async readFrom<T>(work: (client: PrismaClient) => Promise<T>, fromPrimary: boolean): Promise<{ found: T; onReplica: boolean }> {
    const { client, primary, gate, onRead, onDetour, onRetry } = this.parts;
    let avoidReplica = fromPrimary;
    for (let tries = 1; ; tries += 1) {
      const onReplica = gate?.usable === true && !avoidReplica;
      try {
        const found = await this.inTime(work(onReplica ? client : primary));
        onRead(onReplica ? "replica" : "primary");
        return { found, onReplica };
      } catch (error) {
        const conflict = isConflict(error);
        if (!conflict && !isDatabaseUnavailable(error)) throw error;
        if (onReplica) {
          // A query that is in the way of replay says nothing of the standby.
          if (conflict) avoidReplica = true;
          else gate.shut(error);
          onDetour("fault");
        } else {
          await this.pause(tries, error);
        }
        onRetry("read");
      }
    }
  }

  private timeLeft(): number {
    return this.deadline - performance.now();
  }

  /** Waits for the next try, or gives up with the fault of the last one where there is no time for it. */
  private async pause(tries: number, error: unknown): Promise<void> {
    const longest = Math.min(FIRST_PAUSE_MS * 2 ** (tries - 1), LONGEST_PAUSE_MS);
    const pauseMs = longest * (0.5 + Math.random() / 2);
    if (pauseMs >= this.timeLeft()) throw error;
    await sleep(pauseMs);
  }

  private async inTime<T>(work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const timeUp = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new TimeUp(503, "database_unavailable", UNAVAILABLE_TEXT)), Math.max(this.timeLeft(), 0));
    });
    try {
      return await Promise.race([work, timeUp]);
    } finally {
      clearTimeout(timer);
    }
  }
}

