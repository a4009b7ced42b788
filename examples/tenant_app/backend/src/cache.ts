/** Keeps what `load` returned for a while, and lets callers that ask at the same time share one load. Failures are not kept. */
export class TtlCache<V> {
  private readonly entries = new Map<string, { value: Promise<V>; expires: number }>();

  constructor(
    private readonly ttlMs: number,
    private readonly now: () => number = Date.now,
    private readonly maxEntries = 10_000,
  ) {}

  get(key: string, load: () => Promise<V>): Promise<V> {
    const found = this.entries.get(key);
    if (found !== undefined && found.expires > this.now()) return found.value;
    const value = load();
    if (this.entries.size >= this.maxEntries) this.entries.clear();
    const entry = { value, expires: this.now() + this.ttlMs };
    this.entries.set(key, entry);
    value.catch(() => {
      if (this.entries.get(key) === entry) this.entries.delete(key);
    });
    return value;
  }
}
