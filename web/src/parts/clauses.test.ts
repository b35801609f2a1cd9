import { expect, test } from 'vitest';
import { and, quoted } from './clauses';

test.each([
  ['web-0', 'web-0'],
  ['shop/web-*', 'shop/web-*'],
  ['a b', '"a b"'],
  ['or', '"or"'],
  ['', '""'],
  ['a"b\\', '"a\\"b\\\\"'],
])('%s as a value', (value, text) => expect(quoted(value)).toBe(text));

test('clauses stand beside each other without changing their meaning', () => {
  expect(and()).toBe('');
  expect(and('', 'a=1', undefined)).toBe('a=1');
  expect(and('a=1 or b=2')).toBe('a=1 or b=2');
  expect(and('a=1 or b=2', 'c=3')).toBe('(a=1 or b=2) and c=3');
  expect(and('(a=1 or b=2)', 'c=3')).toBe('(a=1 or b=2) and c=3');
  expect(and('(a=1) or (b=2)', 'c=3')).toBe('((a=1) or (b=2)) and c=3');
  expect(and('(a=")" or b=2)', 'c=3')).toBe('((a=")" or b=2)) and c=3');
});
