import { expect, test } from 'vitest';
import { refOfWorkload } from './useRefs';

test('those who can be asked about are named as questions name them', () => {
  expect(refOfWorkload({ kind: 'pod', namespace: 'shop', name: 'web-0' })).toBe('shop/web-0');
  expect(refOfWorkload({ kind: 'service', namespace: 'data', name: 'search' })).toBe('svc/data/search');
  expect(refOfWorkload({ kind: 'node', name: 'n1' })).toBe('node/n1');
  expect(refOfWorkload({ kind: 'port', name: 'lonely' })).toBeUndefined();
  expect(refOfWorkload({ kind: 'pod', namespace: 'shop' })).toBeUndefined();
});
