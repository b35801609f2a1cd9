import { expect, test } from 'vitest';
import { fromBytes, toBytes } from './bytes';

test('places of a text and of its UTF-8 are the same places', () => {
  const text = 'pod=é💥x';
  for (const at of [0, 4, 5, 7, 8]) expect(fromBytes(text, toBytes(text, at))).toBe(at);
  expect(toBytes(text, 7)).toBe(10);
});
