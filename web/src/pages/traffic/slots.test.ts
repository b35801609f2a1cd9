import { expect, test } from 'vitest';
import { Slots } from './slots';

test('lines keep their places, and new ones take those that are free', () => {
  const slots = new Slots();
  const [a, b, c] = slots.place(['a', 'b', 'c'], '');
  expect(new Set([a, b, c]).size).toBe(3);
  expect(slots.place(['d', 'a', 'b'], '')).toEqual([c, a, b]);
  expect(slots.place(['d', 'a', 'b'], '')).toEqual([c, a, b]);
});

test('the place of a line with the focus goes with it', () => {
  const slots = new Slots();
  const [a, b] = slots.place(['a', 'b'], '');
  const [c, again] = slots.place(['c', 'a'], 'b');
  expect(again).toBe(a);
  expect([a, b]).not.toContain(c);
});

test('there are as many places as lines are there at once', () => {
  const slots = new Slots();
  const used = new Set<number>();
  for (let line = 0; line < 1000; line += 7) {
    const keys = Array.from({ length: 20 }, (_, index) => `${line + index}`);
    const places = slots.place(keys, '');
    expect(new Set(places).size).toBe(20);
    places.forEach((place) => used.add(place));
  }
  expect(used.size).toBe(20);
});
