import { expect, test } from 'vitest';
import { add, join, negate, of, parse, print, quote, remove, side, sides, swap, turn, type Comparison } from './query';

const comparisons = (text: string) => parse(text).terms.map(({ comparison }) => comparison);
const only = (text: string) => {
  const [term, ...rest] = parse(text).terms;
  if (!term || rest.length) throw new Error(`not one term: ${text}`);
  return term;
};

test.each([
  ['', []],
  ['namespace=blue', [{ field: 'namespace', operator: '=', values: ['blue'], negated: false }]],
  ['zone != a', [{ field: 'zone', operator: '=', values: ['a'], negated: true }]],
  ['not zone!=a', [{ field: 'zone', operator: '=', values: ['a'], negated: false }]],
  ['src.pod!~web-*', [{ field: 'src.pod', operator: '~', values: ['web-*'], negated: true }]],
  ['ip in 10.0.0.0/8', [{ field: 'ip', operator: 'in', values: ['10.0.0.0/8'], negated: false }]],
  ['not port in (1..10, "80")', [{ field: 'port', operator: 'in', values: ['1..10', '80'], negated: true }]],
  ['(pod~a* or pod~b*)', [{ field: 'pod', operator: '~', values: ['a*', 'b*'], negated: false }]],
  ["message='a \\'b\\' or c'", [{ field: 'message', operator: '=', values: ["a 'b' or c"], negated: false }]],
])('%s has the comparisons', (text, expected) => expect(comparisons(text)).toEqual(expected));

test.each(['a=1 or b=2', '(a=1 or b=2)', 'not (a=1 and b=2)', '(a=1)', 'a', 'a=', 'a in (1, )', 'a="x', 'a=1)', 'and'])(
  'what no chip says stays text: %s',
  (text) => {
    expect(comparisons(text)).toEqual([undefined]);
    expect(join(parse(text))).toBe(text);
  },
);

test('terms, text and what stands behind the bar are all there', () => {
  const text = 'a=1 and (b=2 or c=3) and not d in (4, 5) | limit 5';
  const query = parse(text);
  expect(query.terms.map(({ text }) => text)).toEqual(['a=1', '(b=2 or c=3)', 'not d in (4, 5)']);
  expect(query.tail).toBe('| limit 5');
  expect(join(query)).toBe(text);
});

test('alternatives are enclosed once something is added', () => {
  expect(join(add(parse('a=1 or b=2'), only('c=3')))).toBe('(a=1 or b=2) and c=3');
});

test('a broken query is not torn apart', () => {
  expect(join(add(parse('a="1'), only('c=3')))).toBe('a="1 and c=3');
  expect(swap('src.pod="x')).toBe('src.pod="x');
});

test('whatever is printed is read as the same', () => {
  const values = ['web-0', 'a b', '"', "it's", '\\', 'and', 'x,y', 'a\nb', 'é', '10.0.0.0/8', '', '|', 'a=b'];
  const operators: Comparison['operator'][] = ['=', '~', '>=', 'in'];
  for (const operator of operators)
    for (const negated of [false, true])
      for (const one of values)
        for (const list of [[one], [one, 'z']]) {
          const said: Comparison = { field: 'src.pod', operator, values: list, negated };
          const read = only(print(said)).comparison;
          const isList = operator === '=' && list.length > 1;
          expect(read).toEqual(isList ? { ...said, operator: 'in' } : said);
        }
  expect(quote('a b')).toBe('"a b"');
});

test('chips are negated and back', () => {
  for (const text of ['a=1', 'a~x', 'a>=1', 'a in (1, 2)', '(a~x or a~y)', '(a=1 or b=2)']) {
    const no = negate(only(text));
    expect(no.text).not.toBe(text);
    expect(negate(only(no.text)).text).toBe(text);
  }
  expect(negate(only('a=1 or b=2')).text).toBe('not (a=1 or b=2)');
});

test('chips are about a side and can be turned', () => {
  expect(['src.pod=a', 'dst.port=1', 'port=1', 'node=a', 'verdict=dropped'].map((text) => side(only(text)))).toEqual([
    'source',
    'destination',
    'either',
    'common',
    'common',
  ]);
  expect(sides(only('src.node=a'))).toEqual(['source', 'destination']);
  expect(sides(only('verdict=dropped'))).toEqual([]);
  expect(turn(only('port=80'), 'source').text).toBe('src.port=80');
  expect(turn(only('src.port!=80'), 'either').text).toBe('port!=80');
});

test('source and destination are exchanged everywhere but in values', () => {
  const text = 'src.pod=dst.x and (dst.port=1 or not src.ip in (10.0.0.1, 10.0.0.2)) and message="src.pod=a"';
  const swapped = 'dst.pod=dst.x and (src.port=1 or not dst.ip in (10.0.0.1, 10.0.0.2)) and message="src.pod=a"';
  expect(swap(text)).toBe(swapped);
  expect(swap(swapped)).toBe(text);
});

test('another value of the same field is an alternative', () => {
  const one = add(parse('verdict=dropped'), only('namespace=a'));
  const two = add(one, only('namespace=b'));
  expect(join(two)).toBe('verdict=dropped and namespace in (a, b)');
  expect(add(two, only('namespace in ( a,b )'))).toBe(two);
  expect(join(add(two, only('namespace!=c')))).toBe('verdict=dropped and namespace in (a, b) and namespace!=c');
  expect(join(add(parse('port>=5'), only('port=3')))).toBe('port>=5 and port=3');
  expect(join(remove(two, of({ field: 'verdict', operator: '=', values: ['dropped'], negated: false })))).toBe(
    'namespace in (a, b)',
  );
});
