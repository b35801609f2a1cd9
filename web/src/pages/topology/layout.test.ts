import { expect, test } from 'vitest';
import { rows } from './layout';

test('rows have each place at a place of its own, groups together and not themselves', () => {
  const nodes = [
    { id: 'g', size: 1 },
    { id: 'h', size: 1 },
    ...Array.from({ length: 10 }, (_, index) => ({ id: `n${index}`, size: 1, parent: index % 2 ? 'g' : 'h' })),
    { id: 'alone', size: 1 },
  ];
  const places = rows({ nodes, pairs: [], known: {} });
  expect(Object.keys(places)).toHaveLength(11);
  expect(new Set(Object.values(places).map(({ x, y }) => `${x},${y}`)).size).toBe(11);
  expect(Object.keys(places).slice(1, 6)).toEqual(['n1', 'n3', 'n5', 'n7', 'n9']);
});
