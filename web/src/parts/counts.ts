import type { Connection, Counts, Tally } from '../api/client';

export type What = 'original' | 'reply' | 'dropped' | 'all';

/** What was counted, and what that says of all there was. */
export interface Count {
  /** As they were seen. */
  packets: number;
  bytes: number;
  /** Missing where every packet was seen. */
  estimate?: { packets: number; bytes: number; low: number; high: number };
  /** The probabilities of sampling, ascending. */
  probabilities: number[];
}

const Z = 1.96;

/**
 * Counts of all probabilities together. Estimates of different probabilities are independent, so that their
 * distances to the bounds add up as squares.
 */
export function count(counts: Connection['counts'], what: What): Count {
  const parts = counts.map((part) => ({ probability: part.probability, tally: tally(part, what) }));
  const sum = parts.reduce(
    (sum, { tally }) => ({ packets: sum.packets + tally.packets, bytes: sum.bytes + tally.bytes }),
    { packets: 0, bytes: 0 },
  );
  const result = { ...sum, probabilities: counts.map((part) => part.probability) };
  const estimates = parts.map(({ probability, tally }) => estimate(tally, probability));
  if (parts.every(({ probability, tally }) => probability >= 1 || tally.packets === 0)) return result;
  const add = (value: (of: Estimate) => number) => estimates.reduce((sum, of) => sum + value(of), 0);
  const packets = add((of) => of.packets);
  return {
    ...result,
    estimate: {
      packets,
      bytes: add((of) => of.bytes),
      low: Math.max(sum.packets, packets - Math.sqrt(add((of) => (of.packets - of.low) ** 2))),
      high: packets + Math.sqrt(add((of) => (of.high - of.packets) ** 2)),
    },
  };
}

type Estimate = NonNullable<Tally['estimate']>;

/** How many there were, of which `tally` were seen: as docs/connection.schema.json has it under `estimate`. */
export function estimate({ packets: k, bytes }: Tally, p: number): Estimate {
  if (p >= 1 || k === 0) return { packets: k, bytes, low: k, high: k };
  const q = 1 - p;
  const middle = 2 * k + Z * Z * q;
  const spread = Z * Math.sqrt(q * (4 * k + Z * Z * q));
  return {
    packets: k / p,
    bytes: bytes / p,
    low: Math.max(k, (middle - spread) / (2 * p)),
    high: (middle + spread) / (2 * p),
  };
}

/** Counts of two updates of one connection together. */
export function add(left: Counts[], right: Counts[]): Counts[] {
  const sums = new Map(left.map((part) => [part.probability, part]));
  for (const part of right) {
    const sum = sums.get(part.probability);
    sums.set(part.probability, sum ? plus(sum, part) : part);
  }
  return [...sums.values()].sort((a, b) => a.probability - b.probability);
}

function plus(left: Counts, right: Counts): Counts {
  const side = (name: 'original' | 'reply' | 'dropped'): Tally => {
    const sum = {
      packets: left[name].packets + right[name].packets,
      bytes: left[name].bytes + right[name].bytes,
    };
    return left.probability >= 1 || sum.packets === 0 ? sum : { ...sum, estimate: estimate(sum, left.probability) };
  };
  return { probability: left.probability, original: side('original'), reply: side('reply'), dropped: side('dropped') };
}

function tally(part: Counts, what: What): Tally {
  if (what !== 'all') return part[what];
  return {
    packets: part.original.packets + part.reply.packets,
    bytes: part.original.bytes + part.reply.bytes,
  };
}

const NUMBER = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const SHARE = new Intl.NumberFormat(undefined, { style: 'percent', maximumFractionDigits: 4 });
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export const formatCount = (n: number) => NUMBER.format(n);
export const formatShare = (share: number) => SHARE.format(share);

export function formatBytes(n: number): string {
  let unit = 0;
  while (n >= 1024 && unit < UNITS.length - 1) {
    n /= 1024;
    unit++;
  }
  return `${unit === 0 ? NUMBER.format(n) : SHORT.format(n)} ${UNITS[unit]}`;
}
