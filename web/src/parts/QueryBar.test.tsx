import { screen, waitFor } from '@testing-library/react';
import { userEvent } from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';
import { ProblemError } from '../api/client';
import { inside } from '../testing/inside';
import { QueryBar } from './QueryBar';

const answers = {
  complete: (params: URLSearchParams) => {
    const q = params.get('q') ?? '';
    const from = q.lastIndexOf('=') + 1;
    const pieces = ['shop/cart-0', 'shop/web-0'].map((text) => ({ from, to: q.length, text, kind: 'value' }));
    return { items: pieces };
  },
};

test('what could come next is offered, taken by keys, and asked with Enter', async () => {
  const ask = vi.fn();
  inside(<QueryBar value="" onChange={ask} />, { answers });
  const box = screen.getByRole('combobox', { name: 'Query' });
  await userEvent.type(box, 'src.pod=sh');
  await screen.findByRole('option', { name: /shop\/web-0/ });
  await userEvent.keyboard('{ArrowDown}{ArrowDown}{Enter}');
  expect(box).toHaveProperty('value', 'src.pod=shop/web-0');
  expect(ask).not.toHaveBeenCalled();
  await userEvent.keyboard('{Escape}{Enter}');
  expect(ask).toHaveBeenCalledExactlyOnceWith('src.pod=shop/web-0');
}, 30_000);

test('a wrong query is shown with the place, and / goes to it', async () => {
  const report = '`verdict` is never `x`\n  verdict=x\n          ^';
  const error = new ProblemError({ type: 'x', title: 'wrong', status: 400, detail: '', report });
  inside(<QueryBar value="verdict=x" onChange={() => {}} error={error} />);
  expect(screen.getByText(/is never/).textContent).toBe(report);
  const box = screen.getByRole('combobox', { name: 'Query' });
  expect(box.getAttribute('aria-invalid')).toBe('true');
  await userEvent.keyboard('/');
  await waitFor(() => expect(document.activeElement).toBe(box));
  expect(box).toHaveProperty('value', 'verdict=x');
}, 30_000);
