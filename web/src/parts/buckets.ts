import type { Schemas, Verdict } from '../api/client';
import type { Range } from '../state/range';

/** The verdicts as they are stacked, from the ground: what was denied first, so that it can be compared. */
export const VERDICTS = ['dropped', 'rejected', 'unknown', 'delegated', 'allowed'] as const satisfies Verdict[];

/** How many connections had which verdict. */
export type Counts = Record<Verdict, number>;

/** Connections that ended within one length of time. */
export interface Bucket {
  /** Its beginning, in milliseconds since 1970. */
  at: number;
  counts: Counts;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const UNITS: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  ms: 1,
  s: SECOND,
  m: MINUTE,
  h: HOUR,
  d: DAY,
  w: 7 * DAY,
};
const STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR),
  ...[1, 2, 7, 14].map((days) => days * DAY),
];
/** Bars of one picture. */
const MOST = 60;

/** A time as the API takes it (`now`, `-5m`, RFC 3339), in milliseconds since 1970; undefined for what is none. */
export function moment(text: string, now: number): number | undefined {
  if (text === 'now') return now;
  if (/^-(\d+(ns|us|ms|s|m|h|d|w))+$/.test(text)) {
    const parts = [...text.matchAll(/(\d+)(ns|us|ms|s|m|h|d|w)/g)];
    return now - parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS[unit ?? ''] ?? 0), 0);
  }
  const at = /^\d{4}-/.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(at) ? undefined : at;
}

/** How long a range is, in milliseconds; of one that makes no sense a minute, the server tells what is wrong. */
export function lengthOf({ since, until }: Range, now: number): number {
  const length = (moment(until, now) ?? NaN) - (moment(since, now) ?? NaN);
  return length > 0 ? length : MINUTE;
}

/** How long a bucket is, in milliseconds, for so much time in one picture. */
export function step(length: number): number {
  return STEPS.find((step) => length / step <= MOST) ?? Math.ceil(length / MOST / DAY) * DAY;
}

/** The part of a question that says which connections, without what it wants to be told of them. */
export function filterOf(question: string): string {
  let quote = '';
  for (let at = 0; at < question.length; at++) {
    const letter = question[at] ?? '';
    if (quote) {
      if (letter === '\\') at++;
      else if (letter === quote) quote = '';
    } else if (letter === '"' || letter === "'") quote = letter;
    else if (letter === '|') return question.slice(0, at).trim();
  }
  return question.trim();
}

/** All buckets of an answer to `| count by verdict every STEP`, those in which nothing was seen too. */
export function buckets(answer: Schemas['Aggregates'], every: number): Bucket[] {
  const [since, until] = [Date.parse(answer.since), Date.parse(answer.until)];
  const first = Math.floor(since / every) * every;
  const count = Math.max(1, Math.ceil((until - first) / every));
  const all = Array.from({ length: count }, (_, index) => ({ at: first + index * every, counts: none() }));
  for (const [time, verdict, connections] of answer.lines as unknown as [string, Verdict, number][]) {
    // What began within the time may end after it; it is shown where the time ends.
    const index = Math.floor((Date.parse(time) - first) / every);
    const bucket = all[Math.min(Math.max(index, 0), count - 1)];
    if (bucket && verdict in bucket.counts) bucket.counts[verdict] += connections;
  }
  return all;
}

export function none(): Counts {
  return { dropped: 0, rejected: 0, unknown: 0, delegated: 0, allowed: 0 };
}

/** What several counts come to. */
export function sum(all: Counts[]): Counts {
  const whole = none();
  for (const counts of all) for (const verdict of VERDICTS) whole[verdict] += counts[verdict];
  return whole;
}

export function total(counts: Counts): number {
  return VERDICTS.reduce((sum, verdict) => sum + counts[verdict], 0);
}

/** A range from one time to another, in milliseconds since 1970. */
export function range(since: number, until: number): Range {
  return { since: new Date(since).toISOString(), until: new Date(until).toISOString() };
}

/**
 * The range before or after one (`by` -1, 1), of the same length, or one twice as long around it (`by` 0), none
 * of it to come. One that ends now goes on to end now when it becomes longer.
 */
export function moved(of: Range, by: -1 | 0 | 1, now: number): Range {
  const length = lengthOf(of, now);
  if (!by && of.until === 'now') return { since: `-${Math.ceil(length / 500)}s`, until: 'now' };
  const until = Math.min(now, (moment(of.until, now) ?? now) + (by ? by * length : length / 2));
  return range(until - (by ? length : 2 * length), until);
}
