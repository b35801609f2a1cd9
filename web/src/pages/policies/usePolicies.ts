import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { data, useApi } from '../../api/client';
import { useRange, useRefresh } from '../../state/range';

/** All rules with their use in the time of the page. */
export function useRules() {
  const { client } = useApi();
  const [{ since, until }] = useRange();
  const [every] = useRefresh();
  return useQuery({
    queryKey: ['rules', since, until],
    queryFn: ({ signal }) => data(client.GET('/api/v1/rules', { signal, params: { query: { since, until } } })),
    placeholderData: keepPreviousData,
    refetchInterval: every,
  });
}

/** What isolates a pod. */
export function useIsolation(pod: string) {
  const { client } = useApi();
  return useQuery({
    queryKey: ['isolation', pod],
    enabled: pod.includes('/'),
    queryFn: ({ signal }) => data(client.GET('/api/v1/isolation', { signal, params: { query: { pod } } })),
  });
}
