/** The last values of many, at most `bound`; each keeps its number, counted from 0. */
export class Ring<T> {
  private readonly slots: T[] = [];
  private given = 0;

  constructor(readonly bound: number) {}

  /** How many were ever put in. */
  get total(): number {
    return this.given;
  }

  /** How many are here. */
  get length(): number {
    return this.slots.length;
  }

  /** Puts a value in; gives back the one that had to go for it. */
  push(value: T): T | undefined {
    const slot = this.given++ % this.bound;
    const gone = this.slots[slot];
    this.slots[slot] = value;
    return gone;
  }

  /** The value of a number; undefined where it is gone, or not there yet. */
  at(number: number): T | undefined {
    const here = number >= 0 && number < this.given && number >= this.given - this.bound;
    return here ? this.slots[number % this.bound] : undefined;
  }
}
