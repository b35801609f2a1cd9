import { screen, within } from '@testing-library/react';
import { userEvent } from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';
import { inside } from '../../testing/inside';
import { DEFAULT, headings, moved, named, type ColumnId } from './columns';
import { ColumnsForm } from './ColumnsForm';

test('columns that are not known are left out, and none is shown twice', () => {
  expect(named(['dst', 'new', 'end', 'dst']).map(({ id }) => id)).toEqual(['dst', 'end']);
  expect(named(['new']).map(({ id }) => id)).toEqual(DEFAULT);
});

test('neighbours of one group stand under one heading', () => {
  expect(headings(named(['src', 'src.port', 'dst', 'src.node']))).toEqual([
    { group: 'source', span: 2 },
    { group: 'destination', span: 1 },
    { group: 'source', span: 1 },
  ]);
});

test('one is moved, and never out of the list', () => {
  expect(moved(['a', 'b', 'c'], 0, 2)).toEqual(['b', 'c', 'a']);
  expect(moved(['a', 'b', 'c'], 2, 0)).toEqual(['c', 'a', 'b']);
  expect(moved(['a', 'b'], 0, -1)).toEqual(['a', 'b']);
  expect(moved(['a', 'b'], 1, 2)).toEqual(['a', 'b']);
});

test('columns are chosen and moved by keys, and can be as they were', async () => {
  const choose = vi.fn<(columns: ColumnId[]) => void>();
  inside(<ColumnsForm chosen={['verdict', 'end']} onChoose={choose} onClose={() => {}} />);
  const dialog = screen.getByRole('dialog', { name: 'Manage columns' });
  const button = (name: string) => within(dialog).getByRole('button', { name });
  await userEvent.click(within(dialog).getByRole('checkbox', { name: 'Source: Node' }));
  button('Move End time').focus();
  const place = () =>
    within(dialog)
      .getAllByRole('button', { name: /^Move / })
      .indexOf(button('Move End time'));
  const before = place();
  await userEvent.keyboard('{ArrowUp}');
  expect(place()).toBe(before - 1);
  expect(document.activeElement).toBe(button('Move End time'));
  for (let at = place(); at > 0; at--) await userEvent.keyboard('{ArrowUp}');
  await userEvent.click(button('Save'));
  expect(choose.mock.calls[0]?.[0].slice(0, 2)).toEqual(['end', 'verdict']);
  expect(choose.mock.calls[0]?.[0]).toContain('src.node');
  await userEvent.click(button('Restore default'));
  await userEvent.click(button('Save'));
  expect(choose).toHaveBeenLastCalledWith(DEFAULT);
}, 60_000);
