import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { data, useApi } from '../api/client';
import { useRange, useRefresh } from '../state/range';
import { Bars, length } from './Bars';
import { buckets, filterOf, lengthOf, step } from './buckets';
import { Asked } from './states';

/**
 * Connections that a query finds over the page's time, by verdict. Choosing a part of the time makes it the
 * page's, as a step that the browser's back button undoes.
 */
export function VerdictBars({ q = '' }: { q?: string }) {
  const { t } = useTranslation();
  const { client } = useApi();
  const [range, setRange] = useRange();
  const [refresh] = useRefresh();
  const query = useQuery({
    queryKey: ['bars', q, range],
    queryFn: async ({ signal }) => {
      const every = step(lengthOf(range, Date.now()));
      const question = `${filterOf(q)} | count by verdict every ${length(every)} top 10`;
      const query = { q: question, ...range };
      return {
        every,
        asked: range,
        answer: await data(client.GET('/api/v1/aggregates', { params: { query }, signal })),
      };
    },
    refetchInterval: refresh,
    placeholderData: keepPreviousData,
  });
  return (
    <Asked query={query}>
      {({ every, asked, answer }) => (
        <Bars label={t('bars.label')} buckets={buckets(answer, every)} every={every} asked={asked} onRange={setRange} />
      )}
    </Asked>
  );
}
