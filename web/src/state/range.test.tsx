import { act, renderHook } from '@testing-library/react';
import type { ReactNode } from 'react';
import { MemoryRouter, useLocation } from 'react-router-dom';
import { expect, test } from 'vitest';
import { useRange } from './range';

test('both ends of a range are written, what is usual is not', () => {
  const inside = ({ children }: { children: ReactNode }) => (
    <MemoryRouter initialEntries={['/traffic?q=a']}>{children}</MemoryRouter>
  );
  const { result } = renderHook(() => ({ range: useRange(), at: useLocation() }), { wrapper: inside });
  act(() => result.current.range[1]({ since: '2026-11-23T12:00:00Z', until: '2026-11-23T12:05:00Z' }));
  expect(result.current.range[0]).toEqual({ since: '2026-11-23T12:00:00Z', until: '2026-11-23T12:05:00Z' });
  act(() => result.current.range[1]({ since: '-5m', until: 'now' }));
  expect(result.current.at.search).toBe('?q=a');
});
