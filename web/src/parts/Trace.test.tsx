import { render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { MemoryRouter, Route, Routes } from 'react-router-dom';
import { expect, test } from 'vitest';
import { readDraft } from '../state/whatif';
import explanation from '../testing/explanation.json';
import { Trace, type Explanation } from './Trace';

const dropped = explanation as Explanation;

function show(explanation: Explanation) {
  render(
    <MemoryRouter>
      <Routes>
        <Route path="/" element={<Trace explanation={explanation} query="namespace=data" />} />
        <Route path="/whatif" element="the page What if" />
      </Routes>
    </MemoryRouter>,
  );
}

test('the verdict and its sentence come first', () => {
  show(dropped);
  expect(screen.getByText('Dropped', { selector: '.nv-headline *' })).toBeTruthy();
  expect(screen.getByText(/shop\/catalog-0 -> svc\/data\/search on 9200\/tcp: dropped/)).toBeTruthy();
});

test('the way goes from end to end, with tiers in order and what decided', () => {
  show(dropped);
  const way = screen.getByRole('list', { name: 'The request' });
  const stations = [...way.children].map((it) => it.textContent ?? '');
  expect(stations[0]).toBe('shop/catalog-0');
  expect(stations[1]).toContain('Switch worker-2');
  expect(stations[1]).toContain('none of 16 ACLs matches');
  expect(stations[2]).toContain('To data/search-0');
  expect(stations[2]).toMatch(/Tier 1.*pass.*Delegated.*Tier 2.*drop.*Dropped by network policies isolation/);
  expect(stations.at(-1)).toContain('Dropped');
});

test('rules are links to their policies, with the line', () => {
  show(dropped);
  const near = screen.getByRole('heading', { name: 'What came closest' }).parentElement!;
  const link = within(near).getByRole('link', { name: 'NetworkPolicy data/allow-catalog ingress[0]' });
  expect(link.getAttribute('href')).toBe('/policies?policy=NetworkPolicy%2Fdata%2Fallow-catalog&rule=Ingress%3A0');
  expect(within(near).getByText('4-policies.yaml:87:7')).toBeTruthy();
  expect(within(near).getByText(/the rule is for port 9300, not 9200/)).toBeTruthy();
});

test('the fix goes into What if as the whole changed object', async () => {
  show(dropped);
  expect(screen.getByText('add port 9200/tcp to ingress[0] of NetworkPolicy data/allow-catalog')).toBeTruthy();
  await userEvent.click(screen.getByRole('button', { name: 'Put the fix into What if' }));
  expect(screen.getByText('the page What if')).toBeTruthy();
  const draft = readDraft();
  expect(draft?.query).toBe('namespace=data');
  expect(draft?.text).toMatch(/^# Mistake 1.*kind: NetworkPolicy.*port: 9200\n$/s);
});

test('a fix whose text is not told is shown as far as it is', () => {
  const told = structuredClone(explanation) as unknown as { cases: { fix?: { parts: { text?: string }[] } }[] };
  for (const part of told.cases.flatMap(({ fix }) => fix?.parts ?? [])) delete part.text;
  show(told as unknown as Explanation);
  expect(screen.getByText('add port 9200/tcp to ingress[0] of NetworkPolicy data/allow-catalog')).toBeTruthy();
  expect(screen.getByRole<HTMLButtonElement>('button', { name: 'Put the fix into What if' }).disabled).toBe(true);
  expect(screen.queryByRole('button', { name: 'Copy the changed YAML' })).toBeNull();
});

test('it says which policies are others than at the time that was asked about', () => {
  const at = '2026-01-01T00:00:00Z';
  const web = { kind: 'NetworkPolicy', namespace: 'shop', name: 'web' } as never;
  const changes = [{ owner: web, change: 'gone' as const, time: '2026-01-02T00:00:00Z' }];
  show({ ...dropped, as_of: { at, changes } });
  const said = screen.getByText(/Policies have changed since then/).closest('div')!.parentElement!;
  expect(within(said).getByRole('link', { name: 'NetworkPolicy shop/web' }).getAttribute('href')).toBe(
    '/policies?policy=NetworkPolicy%2Fshop%2Fweb',
  );
  expect(said.textContent).toContain('is gone');
});

test('it says where nothing has changed, and where that is not known', () => {
  const at = '2026-01-01T00:00:00Z';
  show({ ...dropped, as_of: { at, changes: [] } });
  expect(screen.getByText(/No policy of these namespaces has changed since/)).toBeTruthy();
  show({ ...dropped, as_of: { at, known_since: '2026-01-02T00:00:00Z', changes: [] } });
  expect(screen.getByText(/is not known here/)).toBeTruthy();
});

test('the walk shows what matters, and all on demand', async () => {
  show(dropped);
  await userEvent.click(screen.getByRole('button', { name: 'The walk, step by step' }));
  expect(screen.getAllByText('ls_in_pre_acl')).toHaveLength(1);
  expect(screen.queryByText('ls_in_acl_action')).toBeNull();
  await userEvent.click(screen.getByRole('switch'));
  expect(screen.getByText('ls_in_acl_action')).toBeTruthy();
});

test('many cases are folded, each with its verdict', () => {
  const [first] = dropped.cases;
  show({ ...dropped, cases: [first!, { ...first!, verdict: 'allowed', port: '53/udp', message: 'allowed' }] });
  expect(screen.getByText(/53\/udp/)).toBeTruthy();
});
