import { existsSync } from "node:fs";

export interface CheckResult {
  ok: boolean;
  milliseconds: number;
  reason?: string;
  /** What is unusual and yet no reason to leave. */
  note?: string;
}

/** Rejects with the reason why the instance is not ready; may resolve with a note. */
export type Check = () => Promise<string | undefined | void>;

export interface Verdict {
  ready: boolean;
  /** Why not, in words for an operator. */
  reasons: string[];
  checks: Record<string, CheckResult>;
}

/** Results are kept this long, so that many balancers asking often cost one check a second. */
const KEEP_MS = 1_000;

/** Decides whether this instance should get traffic. */
export class Readiness {
  private isDraining = false;
  private results: Promise<Record<string, CheckResult>> | undefined;
  private keptUntil = 0;
  private readonly probes: ReadonlyMap<string, () => Promise<CheckResult>>;

  constructor(
    checks: Readonly<Record<string, Check>>,
    private readonly overrideFile: string | undefined,
    /** A check that takes longer counts as failed, so /health/ready answers at that time whatever hangs. */
    checkTimeoutMs: number,
    private readonly now: () => number = Date.now,
  ) {
    this.probes = new Map(Object.entries(checks).map(([name, check]) => [name, limited(check, checkTimeoutMs)]));
  }

  get draining(): boolean {
    return this.isDraining;
  }

  startDraining(): void {
    this.isDraining = true;
  }

  async verdict(): Promise<Verdict> {
    if (this.results === undefined || this.now() >= this.keptUntil) {
      this.results = this.runAll();
      this.keptUntil = this.now() + KEEP_MS;
    }
    const checks = await this.results;
    const reasons = Object.entries(checks).flatMap(([name, check]) => (check.ok ? [] : [`${name}: ${check.reason}`]));
    if (this.isDraining) reasons.unshift("draining: the instance is about to stop");
    // Synchronous on purpose: a share that hangs can occupy every thread that asynchronous file calls need.
    if (this.overrideFile !== undefined && existsSync(this.overrideFile)) reasons.unshift("drained by operator");
    return { ready: reasons.length === 0, reasons, checks };
  }

  private async runAll(): Promise<Record<string, CheckResult>> {
    const entries = [...this.probes].map(async ([name, probe]) => [name, await probe()] as const);
    return Object.fromEntries(await Promise.all(entries));
  }
}

/** Runs a check with a limit. One that hangs is not started again until it ends: it may hold a thread or a connection. */
function limited(check: Check, limitMs: number): () => Promise<CheckResult> {
  let running: Promise<CheckResult> | undefined;
  const run = async (): Promise<CheckResult> => {
    const started = performance.now();
    const taken = (): number => Math.round(performance.now() - started);
    try {
      const note = await check();
      return { ok: true, milliseconds: taken(), ...(typeof note === "string" ? { note } : {}) };
    } catch (error) {
      return { ok: false, milliseconds: taken(), reason: describe(error) };
    } finally {
      running = undefined;
    }
  };
  return async () => {
    running ??= run();
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<CheckResult>((resolve) => {
      timer = setTimeout(() => resolve({ ok: false, milliseconds: limitMs, reason: `no answer within ${limitMs} ms` }), limitMs);
    });
    try {
      return await Promise.race([running, tooLate]);
    } finally {
      clearTimeout(timer);
    }
  };
}

/** A refused connection to a name with several addresses is an AggregateError whose own message is empty. */
export function describe(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describe).join(", ");
  return error instanceof Error ? error.message : String(error);
}
