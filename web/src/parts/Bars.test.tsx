import { fireEvent, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';
import { Bars } from './Bars';
import { none, range } from './buckets';

const START = Date.parse('2020-11-23T12:00:00Z');
const MINUTE = 60_000;

function bars() {
  const onRange = vi.fn();
  const buckets = [4, 0, 7, 1].map((allowed, index) => ({
    at: START + index * MINUTE,
    counts: { ...none(), allowed, dropped: index === 2 ? 1 : 0 },
  }));
  const asked = range(START, START + 4 * MINUTE);
  render(<Bars label="Over time" buckets={buckets} every={MINUTE} asked={asked} onRange={onRange} />);
  return { onRange, plot: screen.queryByRole('slider', { name: 'Over time' }) as HTMLElement, user: userEvent.setup() };
}

test('by keys alone: walk, select, choose', async () => {
  const { onRange, plot, user } = bars();
  plot.focus();
  await user.keyboard('{End}{ArrowLeft}');
  expect(plot.getAttribute('aria-valuetext')).toMatch(/1 Dropped, 7 Allowed$/);
  await user.keyboard('{Shift>}{ArrowLeft}{ArrowLeft}{/Shift}');
  expect(plot.getAttribute('aria-valuetext')).toMatch(/1 Dropped, 11 Allowed$/);
  await user.keyboard('{Enter}');
  expect(onRange).toHaveBeenCalledExactlyOnceWith(range(START, START + 3 * MINUTE));
});

test('Escape selects nothing, and is left to the page where nothing was selected', async () => {
  const { onRange, plot, user } = bars();
  plot.focus();
  await user.keyboard('{ArrowLeft}{Escape}{Enter}');
  expect(onRange).not.toHaveBeenCalled();
  expect(fireEvent.keyDown(plot, { key: 'Escape' })).toBe(true);
});

test('pages through time', async () => {
  const { onRange, plot, user } = bars();
  plot.focus();
  await user.keyboard('{PageUp}');
  expect(onRange).toHaveBeenLastCalledWith(range(START - 4 * MINUTE, START));
  await user.keyboard('{PageDown}');
  expect(onRange).toHaveBeenLastCalledWith(range(START + 4 * MINUTE, START + 8 * MINUTE));
});

test('dragging chooses what is between, in either direction; a click chooses nothing', () => {
  const { onRange, plot } = bars();
  plot.getBoundingClientRect = () => ({ left: 100, width: 400 }) as DOMRect;
  fireEvent.pointerDown(plot, { button: 0, clientX: 350 });
  fireEvent.pointerUp(plot, { clientX: 350 });
  expect(onRange).not.toHaveBeenCalled();
  fireEvent.pointerDown(plot, { button: 0, clientX: 350 });
  fireEvent.pointerMove(plot, { clientX: 220 });
  fireEvent.pointerUp(plot, { clientX: 220 });
  expect(onRange).toHaveBeenCalledExactlyOnceWith(range(START + MINUTE, START + 3 * MINUTE));
});

test('the same as a table, without the times in which nothing was', async () => {
  const { user } = bars();
  await user.click(screen.getByRole('button', { name: 'Show as table' }));
  const rows = screen.getAllByRole('row').map((row) => row.textContent);
  expect(rows).toHaveLength(4);
  expect(rows[2]).toMatch(/17$/);
});
