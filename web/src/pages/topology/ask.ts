import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { data, useApi, type Schemas } from '../../api/client';
import { filterOf } from '../../parts/buckets';
import { and } from '../../parts/clauses';
import { useRange, useRefresh } from '../../state/range';
import { fields, focusClause, graph, type View } from './graph';

/** Groups that are asked for, of denied connections and of others. */
const MOST = 5000;
const DENIED = 'verdict in (dropped, rejected)';
const MEASURES =
  'count, sum(packets), sum(reply.packets), sum(bytes), sum(reply.bytes), sum(dropped.packets), max(end), min(probability)';

/** Who talked to whom, within the page's time. Denied connections are asked for by themselves, so that none is missing. */
export function useTopology(q: string, view: View) {
  const { client } = useApi();
  const [range] = useRange();
  const [refresh] = useRefresh();
  return useQuery({
    queryKey: ['topology', q, view, range],
    queryFn: async ({ signal }) => {
      const ask = (clause: string) => {
        const filter = and(filterOf(q), focusClause(view.focus), clause);
        const question = `${filter} | ${MEASURES} by ${[...fields(view), 'verdict'].join(', ')} top ${MOST}`;
        return data(client.GET('/api/v1/aggregates', { params: { query: { q: question, ...range } }, signal }));
      };
      const answers = await Promise.all([ask(DENIED), ask(`not ${DENIED}`)]);
      return {
        view,
        graph: graph(answers, view),
        seconds: secondsOf(answers[0]),
        beyond: answers.reduce((sum, { total, lines }) => sum + total - lines.length, 0),
        probability: Math.min(1, ...answers.flatMap(probabilities)),
      };
    },
    refetchInterval: refresh,
    placeholderData: keepPreviousData,
  });
}

function secondsOf({ since, until }: Schemas['Aggregates']): number {
  return (Date.parse(until) - Date.parse(since)) / 1000;
}

function probabilities({ columns, lines }: Schemas['Aggregates']): number[] {
  const at = columns.indexOf('min(probability)');
  return (lines as unknown[][]).flatMap((line) => (typeof line[at] === 'number' ? [line[at]] : []));
}
