import { screen, within } from '@testing-library/react';
import { userEvent } from '@testing-library/user-event';
import { expect, test } from 'vitest';
import { inside } from '../../testing/inside';
import { Chips } from './Chips';
import { useFilters } from './useFilters';

function All() {
  return <Chips filters={useFilters()} />;
}

const at = (q: string) => `/traffic?${new URLSearchParams({ q })}`;
const choose = async (chip: string, item: string) => {
  await userEvent.click(screen.getByRole('button', { name: chip }));
  await userEvent.click(await screen.findByRole('menuitem', { name: item }));
};

test('chips stand with the end that they are about', () => {
  inside(<All />, { at: at('src.pod=a and dst.port in (80, 443) and verdict!=allowed and (ip=::1 or node=b)') });
  const of = (name: string) =>
    within(screen.getByRole('group', { name }))
      .getAllByTestId('chip')
      .map((chip) => chip.textContent);
  expect(of('Source')).toEqual(['pod = a']);
  expect(of('Destination')).toEqual(['port = 80 or 443']);
  expect(of('Common')).toEqual(['not verdict = allowed', '(ip=::1 or node=b)']);
});

test('chips are turned, negated, set aside and back, and removed: all of it is in the address', async () => {
  const { search } = inside(<All />, { at: at('src.port=80 and verdict=dropped') });
  await choose('Filter src.port=80', 'As destination');
  expect(search().get('q')).toBe('dst.port=80 and verdict=dropped');
  await choose('Filter dst.port=80', 'Either');
  await choose('Filter port=80', 'Turn into its opposite');
  expect(search().get('q')).toBe('port!=80 and verdict=dropped');
  await choose('Filter port!=80', 'Disable');
  expect([search().get('q'), search().get('off')]).toEqual(['verdict=dropped', 'port!=80']);
  await choose('Filter port!=80, disabled', 'Enable');
  expect([search().get('q'), search().get('off')]).toEqual(['verdict=dropped and port!=80', null]);
  await userEvent.click(screen.getByRole('button', { name: 'Remove the filter verdict=dropped' }));
  expect(search().get('q')).toBe('port!=80');
}, 60_000);

test('source and destination are swapped, and what no chip says is kept', async () => {
  const { search } = inside(<All />, { at: at('src.pod=a and (dst.ip=::1 or src.port=1) | limit 5') });
  await userEvent.click(screen.getByRole('button', { name: 'Swap' }));
  expect(search().get('q')).toBe('dst.pod=a and (src.ip=::1 or dst.port=1) | limit 5');
}, 30_000);

test('a filter is edited by field, comparison and values', async () => {
  const fields = () => ({ items: [{ name: 'src.pod', about: 'the pod', operators: ['=', '~', 'in'] }] });
  const { search } = inside(<All />, { at: at('src.pod=a'), answers: { fields, complete: () => ({ items: [] }) } });
  await choose('Filter src.pod=a', 'Edit');
  const values = await screen.findByRole('combobox', { name: /Values/ });
  await userEvent.clear(values);
  await userEvent.type(values, 'b, "c d"');
  await userEvent.click(screen.getByRole('button', { name: 'Apply' }));
  expect(search().get('q')).toBe('src.pod in (b, "c d")');
}, 60_000);
