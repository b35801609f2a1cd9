import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { data, useApi } from '../../api/client';
import { useRange, useRefresh } from '../../state/range';

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
