import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { data, useApi, type Connection, type Owner } from '../api/client';
import { useRange, useRefresh } from '../state/range';

/** A line of an aggregate, by the names of its columns. */
export type Line = Record<string, string | number | null>;

/** The lines of an aggregate over the page's time, and how many there are. */
export function useLines(question: string) {
  const { client } = useApi();
  const [range] = useRange();
  const [refresh] = useRefresh();
  return useQuery({
    queryKey: ['lines', question, range],
    queryFn: async ({ signal }) => {
      const query = { q: question, ...range };
      const { columns, lines, total } = await data(client.GET('/api/v1/aggregates', { params: { query }, signal }));
      const named = (lines as unknown as Line[string][][]).map(
        (line) => Object.fromEntries(columns.map((column, index) => [column, line[index] ?? null])) as Line,
      );
      return { lines: named, total };
    },
    refetchInterval: refresh,
    placeholderData: keepPreviousData,
  });
}

const END = ['namespace', 'kind', 'name', 'ip'];
/** What tells apart who talked to whom, on which port. */
export const ENDS = [
  ...['src', 'dst'].flatMap((side) => END.map((field) => `${side}.${field}`)),
  ...['service.namespace', 'service.name', 'service.port', 'protocol', 'dst.port'],
].join(', ');

/** As much of a connection as names its ends. */
export function connectionOf(line: Line): Connection {
  const text = (name: string) => (typeof line[name] === 'string' ? line[name] : undefined);
  const number = (name: string) => (typeof line[name] === 'number' ? line[name] : undefined);
  const end = (side: string) => {
    const [kind, name] = [text(`${side}.kind`), text(`${side}.name`)];
    return {
      ip: text(`${side}.ip`) ?? '',
      kind,
      namespace: text(`${side}.namespace`),
      name,
      pod: kind === 'pod' ? name : undefined,
      port: number(`${side}.port`),
    };
  };
  const service = text('service.name');
  return {
    src: end('src'),
    dst: end('dst'),
    protocol: text('protocol'),
    verdict: text('verdict'),
    ...(service && { service: { name: service, namespace: text('service.namespace'), port: number('service.port') } }),
  } as unknown as Connection;
}

/** Whose rule a line is about. */
export function ownerOf(line: Line): Owner {
  const text = (name: string) => (typeof line[name] === 'string' ? line[name] : undefined);
  return {
    kind: text('owner.kind'),
    namespace: text('owner.namespace'),
    name: text('owner.name'),
    direction: text('direction'),
    rule: typeof line['rule.index'] === 'number' ? { index: line['rule.index'] } : {},
  } as Owner;
}
