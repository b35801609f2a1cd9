import { expect, test } from 'vitest';
import { join, parse } from './query';
import { chooseDrops, DROPS, drops, isOn, QUICK, toggle, type Drops } from './quick';

test.each(Object.entries(QUICK))('%s goes on and off, and leaves the rest as it is', (_, text) => {
  const query = parse('ip=::1 | limit 5');
  const on = toggle(query, text);
  expect(isOn(on, text)).toBe(true);
  expect(isOn(parse(join(on)), text)).toBe(true);
  expect(join(toggle(on, text))).toBe('ip=::1 | limit 5');
});

test.each(Object.keys(DROPS) as Drops[])('the choice %s is found in the query again', (choice) => {
  const query = chooseDrops(chooseDrops(parse('ip=::1'), 'fully'), choice);
  expect(drops(parse(join(query)))).toBe(choice);
  expect(join(chooseDrops(query, 'all'))).toBe('ip=::1');
});
