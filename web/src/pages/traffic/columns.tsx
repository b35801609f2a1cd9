import type { ReactNode } from 'react';
import type { Connection, Half } from '../../api/client';
import { End, ServiceEnd } from '../../parts/End';
import { endName } from '../../parts/ends';
import { Rule } from '../../parts/Rule';
import { Time } from '../../parts/Time';
import { Verdict } from '../../parts/Verdict';
import { Counted } from './Counted';
import { Duration } from './Duration';

export type Group = 'common' | 'source' | 'destination' | 'l3' | 'counts' | 'policy';

export interface Column {
  id: string;
  group: Group;
  /** In rem. */
  width: number;
  /** Takes what room is left. */
  grows?: boolean;
  number?: boolean;
  show: (connection: Connection) => ReactNode;
}

/** All that a table of connections can show, in the order in which they stand if nobody moved them. */
const ALL = [
  { id: 'end', group: 'common', width: 6.75, show: ({ end }) => <Time at={end} /> },
  { id: 'start', group: 'common', width: 6.75, show: ({ start }) => <Time at={start} /> },
  {
    id: 'duration',
    group: 'common',
    width: 5,
    number: true,
    show: ({ start, end }) => <Duration {...{ start, end }} />,
  },
  { id: 'verdict', group: 'common', width: 7.25, show: ({ verdict }) => <Verdict verdict={verdict} /> },
  { id: 'src', group: 'source', width: 10.5, show: ({ src }) => <End end={src} /> },
  { id: 'src.namespace', group: 'source', width: 8, show: ({ src }) => src.namespace },
  { id: 'src.name', group: 'source', width: 9, show: ({ src }) => src.pod ?? src.name },
  { id: 'src.kind', group: 'source', width: 6, show: ({ src }) => src.kind },
  { id: 'src.node', group: 'source', width: 8, show: ({ src }) => src.node },
  { id: 'src.port', group: 'source', width: 4, number: true, show: ({ src }) => src.port },
  { id: 'dst', group: 'destination', width: 10.5, show: ({ dst }) => <End end={dst} /> },
  { id: 'dst.namespace', group: 'destination', width: 8, show: ({ dst }) => dst.namespace },
  { id: 'dst.name', group: 'destination', width: 9, show: ({ dst }) => dst.pod ?? dst.name },
  { id: 'dst.kind', group: 'destination', width: 6, show: ({ dst }) => dst.kind },
  { id: 'dst.node', group: 'destination', width: 8, show: ({ dst }) => dst.node },
  { id: 'dst.port', group: 'destination', width: 4, number: true, show: ({ dst }) => dst.port },
  {
    id: 'service',
    group: 'destination',
    width: 10,
    show: ({ service }) => service && <ServiceEnd service={service} port />,
  },
  { id: 'protocol', group: 'l3', width: 4.5, show: ({ protocol }) => protocol },
  { id: 'src.ip', group: 'l3', width: 8.5, show: ({ src }) => src.ip },
  { id: 'dst.ip', group: 'l3', width: 8.5, show: ({ dst }) => dst.ip },
  { id: 'icmp', group: 'l3', width: 5, show: ({ icmp }) => icmp && `${icmp.type}/${icmp.code}` },
  { id: 'tcp_flags', group: 'l3', width: 9, show: ({ tcp_flags }) => tcp_flags },
  { id: 'network', group: 'l3', width: 7, show: ({ network }) => network },
  { id: 'packets', group: 'counts', width: 4.5, number: true, show: (c) => <Counted {...{ c }} what="all" /> },
  { id: 'bytes', group: 'counts', width: 5.5, number: true, show: (c) => <Counted {...{ c }} what="all" bytes /> },
  { id: 'sent', group: 'counts', width: 6, number: true, show: (c) => <Counted {...{ c }} what="original" /> },
  { id: 'reply', group: 'counts', width: 6, number: true, show: (c) => <Counted {...{ c }} what="reply" /> },
  { id: 'dropped', group: 'counts', width: 6, number: true, show: (c) => <Counted {...{ c }} what="dropped" /> },
  { id: 'events', group: 'policy', width: 20, grows: true, show: (c) => <Events connection={c} /> },
  { id: 'policy', group: 'policy', width: 12, show: policies },
  {
    id: 'tier',
    group: 'policy',
    width: 5,
    show: (c) =>
      halves(c)
        .flatMap(({ tier }) => tier ?? [])
        .join(', '),
  },
  { id: 'zone', group: 'policy', width: 8, show: (c) => [...new Set(halves(c).map(({ zone }) => zone))].join(', ') },
  { id: 'id', group: 'common', width: 18, show: ({ id }) => <code>{id}</code> },
] as const satisfies readonly Column[];

export type ColumnId = (typeof ALL)[number]['id'];
export const COLUMNS: readonly (Column & { id: ColumnId })[] = ALL;

export const DEFAULT: readonly ColumnId[] = [
  'end',
  'verdict',
  'src',
  'src.port',
  'dst',
  'dst.port',
  'events',
  'protocol',
  'packets',
  'bytes',
];

/** The columns of these names in their order; names that are not known, such as those of a later version, are left out. */
export function named(ids: readonly string[]): (Column & { id: ColumnId })[] {
  const found = [...new Set(ids)].flatMap((id) => COLUMNS.find((column) => column.id === id) ?? []);
  return found.length ? found : named(DEFAULT);
}

/** Neighbours of the same group stand under one heading. */
export function headings(columns: readonly Column[]): { group: Group; span: number }[] {
  const found: { group: Group; span: number }[] = [];
  for (const { group } of columns) {
    const last = found.at(-1);
    if (last?.group === group) last.span++;
    else found.push({ group, span: 1 });
  }
  return found;
}

/** The order after one was moved to the place of another. */
export function moved<T>(all: readonly T[], from: number, to: number): T[] {
  const [taken, ...rest] = all.slice(from, from + 1);
  if (taken === undefined || rest.length || to < 0 || to >= all.length) return [...all];
  return all.toSpliced(from, 1).toSpliced(to, 0, taken);
}

/** What was said on the way out and on the way in, as far as anything was. */
export const halves = ({ egress, ingress }: Connection): Half[] =>
  [egress, ingress].filter((half) => half !== undefined);

function policies(connection: Connection): string {
  const names = halves(connection).flatMap(({ owner }) =>
    owner?.name ? endName({ ip: '', name: owner.name, ...(owner.namespace && { namespace: owner.namespace }) }) : [],
  );
  return [...new Set(names)].join(', ');
}

function Events({ connection }: { connection: Connection }) {
  return (
    <div className="nv-events">
      {halves(connection).map((half, index) => (
        <Rule key={index} half={half} />
      ))}
    </div>
  );
}
