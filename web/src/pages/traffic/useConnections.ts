import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { data, useApi, type Connection } from '../../api/client';
import { useRange, useRefresh } from '../../state/range';
import { join, parse } from './query';

/** Pages of connections that match, those that ended last first. */
export function useConnections(q: string, limit: number, enabled: boolean) {
  const { client } = useApi();
  const [{ since, until }] = useRange();
  const [refetchInterval] = useRefresh();
  const asked = useInfiniteQuery({
    queryKey: ['connections', q, since, until, limit],
    queryFn: ({ pageParam, signal }) => {
      const query = { q, since, until, limit, ...(pageParam && { after: pageParam }) };
      return data(client.GET('/api/v1/connections', { params: { query }, signal }));
    },
    initialPageParam: '',
    getNextPageParam: (page) => page.next ?? undefined,
    placeholderData: keepPreviousData,
    refetchInterval,
    enabled,
  });
  const { data: answer } = asked;
  const connections = useMemo(() => answer?.pages.flatMap(({ items }) => items) ?? [], [answer]);
  return { asked, connections, first: answer?.pages[0] };
}

/** How many there are of those that match, and what they come to as it was seen. */
export function useTotals(q: string, enabled: boolean) {
  const { client } = useApi();
  const [{ since, until }] = useRange();
  const [refetchInterval] = useRefresh();
  const head = join({ ...parse(q), tail: '' });
  return useQuery({
    queryKey: ['totals', head, since, until],
    queryFn: async ({ signal }) => {
      const measures = 'count, sum(packets), sum(reply.packets), sum(bytes), sum(reply.bytes), min(probability)';
      const query = { q: `${head} | ${measures}`, since, until };
      const { lines } = await data(client.GET('/api/v1/aggregates', { params: { query }, signal }));
      const [count = 0, packets = 0, replies = 0, bytes = 0, replied = 0, probability = 1] = (lines[0] ??
        []) as number[];
      return { count, packets: packets + replies, bytes: bytes + replied, sampled: probability < 1 };
    },
    placeholderData: keepPreviousData,
    refetchInterval,
    enabled,
  });
}

/** One connection whole, wherever it is; until it is here, as much as is known. */
export function useConnection(id: string, known: Connection | undefined) {
  const { client } = useApi();
  return useQuery({
    queryKey: ['connection', id],
    queryFn: ({ signal }) => data(client.GET('/api/v1/connections/{id}', { params: { path: { id } }, signal })),
    placeholderData: known,
  });
}
