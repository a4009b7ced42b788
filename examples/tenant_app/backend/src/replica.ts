import { describe } from "./readiness.js";

/** While the replicas are away they are asked this often whether they are back. */
const ASK_AGAIN_MS = 1_000;

/** A readiness check is answered while a balancer still waits for it, so it waits no longer than this for a replica. */
const CHECK_MS = 500;

/**
 * Knows whether reads may go to the replicas. The first read that fails there closes the gate for all, so that a standby that hangs costs
 * one request its patience and not each; a probe in the background opens it again.
 */
export class ReplicaGate {
  private isOpen = true;
  private reason = "";
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(private readonly probe: () => Promise<void>) {}

  get usable(): boolean {
    return this.isOpen;
  }

  /** A read has failed there. */
  shut(error: unknown): void {
    this.reason = describe(error);
    if (!this.isOpen || this.closed) return;
    this.isOpen = false;
    this.askAgain();
  }

  /** For the readiness check. Never a fault, because reads go on elsewhere: what is unusual is said in words. */
  async check(): Promise<string | undefined> {
    if (this.isOpen) {
      let timer: NodeJS.Timeout | undefined;
      const tooLate = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer within ${CHECK_MS} ms`)), CHECK_MS);
      });
      await Promise.race([this.probe(), tooLate])
        .catch((error) => this.shut(error))
        .finally(() => clearTimeout(timer));
    }
    return this.isOpen ? undefined : `away, so the primary is read: ${this.reason}`;
  }

  /** Asks no more. */
  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private askAgain(): void {
    this.timer = setTimeout(async () => {
      try {
        await this.probe();
        this.isOpen = true;
      } catch (error) {
        this.reason = describe(error);
        if (!this.closed) this.askAgain();
      }
    }, ASK_AGAIN_MS).unref();
  }
}
