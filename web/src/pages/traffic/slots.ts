/**
 * Places on the screen for lines that come and go. A line that stays keeps its place; one that comes takes that of one
 * that went, so that what stands there is changed and not made anew.
 */
export class Slots {
  private taken = new Map<string, number>();
  private free: number[] = [];
  private made = 0;

  /** The place of each of these. That of `kept` is nobody else's, so that a focus that is in it goes with it. */
  place(keys: readonly string[], kept: string): number[] {
    const here = new Set(keys);
    for (const [key, slot] of this.taken) {
      if (here.has(key)) continue;
      this.taken.delete(key);
      if (key !== kept) this.free.push(slot);
    }
    return keys.map((key) => {
      const known = this.taken.get(key);
      if (known !== undefined) return known;
      const slot = this.free.shift() ?? this.made++;
      this.taken.set(key, slot);
      return slot;
    });
  }
}
