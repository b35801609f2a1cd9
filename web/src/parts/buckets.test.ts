import { describe, expect, test } from 'vitest';
import { buckets, filterOf, lengthOf, moment, moved, step, sum, total, VERDICTS } from './buckets';

const NOW = Date.parse('2026-11-23T12:00:00Z');
const iso = (text: string) => new Date(text).toISOString();

describe('times as the API takes them', () => {
  test.each([
    ['now', '2026-11-23T12:00:00Z'],
    ['-5m', '2026-11-23T11:55:00Z'],
    ['-1h30m', '2026-11-23T10:30:00Z'],
    ['-2w', '2026-11-09T12:00:00Z'],
    ['2026-11-23T09:00:00+01:00', '2026-11-23T08:00:00Z'],
  ])('%s', (text, at) => expect(moment(text, NOW)).toBe(Date.parse(at)));
  test.each(['', '-', '-5', '5m', '-5mm', 'soon'])('%s is none', (text) => expect(moment(text, NOW)).toBeUndefined());
});

test('a range that makes no sense has some length, so that the server is asked and says so', () => {
  expect(lengthOf({ since: 'now', until: '-5m' }, NOW)).toBeGreaterThan(0);
  expect(lengthOf({ since: 'soon', until: 'now' }, NOW)).toBeGreaterThan(0);
});

test('no picture has more than 60 bars, and none of a minute or more has few', () => {
  for (let length = 60_000; length < 400 * 86_400_000; length = Math.round(length * 1.37)) {
    const bars = length / step(length);
    expect(bars).toBeLessThanOrEqual(60);
    expect(bars).toBeGreaterThan(18);
  }
});

test('the filter of a question ends at its first | outside of quotes', () => {
  expect(filterOf('verdict=dropped | count by policy')).toBe('verdict=dropped');
  expect(filterOf("name=\"a|b\" and pod='c\\'|' | limit 2")).toBe("name=\"a|b\" and pod='c\\'|'");
  expect(filterOf('| limit 2')).toBe('');
  expect(filterOf('name="a|b')).toBe('name="a|b');
});

test('buckets are without holes, and everything told is in one of them', () => {
  const answer = {
    columns: ['time', 'verdict', 'count'],
    lines: [
      ['2026-11-23T11:55:00Z', 'allowed', 3],
      ['2026-11-23T11:57:00Z', 'dropped', 2],
      ['2026-11-23T11:57:00Z', 'allowed', 1],
      ['2026-11-23T12:01:00Z', 'delegated', 5],
    ],
    total: 4,
    since: '2026-11-23T11:55:30Z',
    until: '2026-11-23T11:59:30Z',
  } as never;
  const all = buckets(answer, 60_000);
  expect(all.map(({ at }) => at)).toEqual(
    [0, 1, 2, 3, 4].map((minute) => Date.parse('2026-11-23T11:55:00Z') + minute * 60_000),
  );
  expect(all.map(({ counts }) => total(counts))).toEqual([3, 0, 3, 0, 5]);
  expect(sum(all.map(({ counts }) => counts))).toEqual({
    dropped: 2,
    rejected: 0,
    unknown: 0,
    delegated: 5,
    allowed: 4,
  });
});

test('verdicts are stacked from the worst', () => {
  expect(VERDICTS[0]).toBe('dropped');
  expect(VERDICTS.at(-1)).toBe('allowed');
});

test('earlier, later and wider ranges keep their length or double it, and never ask about what is to come', () => {
  const hour = { since: '-1h', until: 'now' };
  expect(moved(hour, -1, NOW)).toEqual({ since: iso('2026-11-23T10:00:00Z'), until: iso('2026-11-23T11:00:00Z') });
  expect(moved(hour, 1, NOW)).toEqual({ since: iso('2026-11-23T11:00:00Z'), until: iso('2026-11-23T12:00:00Z') });
  expect(moved(hour, 0, NOW)).toEqual({ since: '-7200s', until: 'now' });
  const past = { since: '2026-11-23T08:00:00Z', until: '2026-11-23T09:00:00Z' };
  expect(moved(past, 1, NOW)).toEqual({ since: iso('2026-11-23T09:00:00Z'), until: iso('2026-11-23T10:00:00Z') });
  expect(moved(past, 0, NOW)).toEqual({ since: iso('2026-11-23T07:30:00Z'), until: iso('2026-11-23T09:30:00Z') });
});
