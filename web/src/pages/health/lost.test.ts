import { expect, test } from 'vitest';
import type { Schemas } from '../../api/client';
import strings from '../../strings/en/health';
import { losses, wordOf } from './lost';

const sources = (counters: Record<string, number>): Schemas['Sources'] => ({
  sources: [
    {
      name: 'psample:10',
      counters: Object.entries(counters).map(([name, value]) => ({ name, value })),
    },
  ],
  store: { rows: 0, bytes: 0, losses: [{ name: 'files', value: 2 }] },
  live: { updates: 0, readers: 0 },
});

test('only what ought to be zero and is not is a loss', () => {
  expect(
    losses(sources({ psample_samples: 9, psample_dropped: 0, psample_unix_lost: 3, psample_malformed: 5 })),
  ).toEqual([
    { place: 'psample:10', name: 'psample_malformed', value: 5 },
    { place: 'psample:10', name: 'psample_unix_lost', value: 3 },
    { place: 'store', name: 'files', value: 2 },
  ]);
});

test('sources of one kind are told with the same words', () => {
  expect(wordOf('psample_unix_lost')).toBe('psample_lost');
  expect(wordOf('ipfix_lost')).toBe('ipfix_lost');
});

test('what is to be done about has a name in plain words', () => {
  for (const name of Object.keys(strings.todo)) expect(strings.counter).toHaveProperty([name]);
});
