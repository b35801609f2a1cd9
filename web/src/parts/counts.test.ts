import { expect, test } from 'vitest';
import type { Counts } from '../api/client';
import { add, count, estimate, formatBytes } from './counts';

const part = (probability: number, packets: number): Counts => ({
  probability,
  original: { packets, bytes: packets * 100 },
  reply: { packets: 0, bytes: 0 },
  dropped: { packets: 0, bytes: 0 },
});

test('what was seen in full needs no estimate', () => {
  expect(count([part(1, 7)], 'original')).toEqual({ packets: 7, bytes: 700, probabilities: [1] });
  expect(count([part(0.01, 0), part(1, 7)], 'all').estimate).toBeUndefined();
});

test('the bounds are those for which what was seen lies within 1.96 standard deviations', () => {
  const [k, p] = [40, 0.01];
  const { packets, low, high } = estimate({ packets: k, bytes: 0 }, p);
  expect(packets).toBeCloseTo(4000);
  for (const n of [low, high]) expect(Math.abs(k - n * p) / Math.sqrt(n * p * (1 - p))).toBeCloseTo(1.96, 6);
  expect(estimate({ packets: 1, bytes: 0 }, 0.9).low).toBeGreaterThanOrEqual(1);
});

test('several probabilities are estimated apart and added up', () => {
  const { packets, estimate } = count([part(0.01, 40), part(1, 10)], 'original');
  expect(packets).toBe(50);
  expect(estimate?.packets).toBeCloseTo(4010);
  expect(estimate?.low).toBeLessThan(4010);
});

test('counts of updates add up within their probability, and are estimated anew', () => {
  const sum = add([part(0.01, 40), part(1, 2)], [part(1, 3), part(0.5, 8)]);
  expect(sum.map(({ probability, original }) => [probability, original.packets])).toEqual([
    [0.01, 40],
    [0.5, 8],
    [1, 5],
  ]);
  expect(add([part(0.5, 8)], [part(0.5, 8)])[0]?.original.estimate?.packets).toBeCloseTo(32);
});

test('bytes have units', () => {
  expect([formatBytes(0), formatBytes(1023), formatBytes(1536)]).toEqual(['0 B', '1,023 B', '1.5 KiB']);
});
