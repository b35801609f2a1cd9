import { EmptyState, EmptyStateBody, PageSection, Title } from '@patternfly/react-core';
import { QuestionCircleIcon } from '@patternfly/react-icons';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { data, ProblemError, useApi } from '../../api/client';
import { Trace, type Explanation } from '../../parts/Trace';
import { Empty, Failed, Loading } from '../../parts/states';
import { useUrl, useUrls } from '../../state/url';
import { Question, type Asked } from './Question';

/** Why a connection is let through or not, asked beforehand. */
export default function Explain() {
  const { t } = useTranslation('explain');
  const [from] = useUrl('from');
  const [to] = useUrl('to');
  const [port] = useUrl('port');
  const [at] = useUrl('at');
  const setUrl = useUrls();
  const ask = (next: Asked) => {
    if (next.from === from && next.to === to && next.port === port) void answer.refetch();
    else setUrl({ from: next.from, to: next.to, port: next.port || null, at: null }, true);
  };
  const answer = useExplanation({ from, to, port }, at);
  return (
    <>
      <PageSection>
        <Title headingLevel="h1">{t('title')}</Title>
        <Question asked={{ from, to, port }} onAsk={ask} />
      </PageSection>
      <PageSection isFilled aria-live="polite">
        {!from || !to ? (
          <Empty title={t('empty.title')}>{t('empty.hint')}</Empty>
        ) : answer.data ? (
          <Trace explanation={answer.data} query={queryOf(from, to)} />
        ) : answer.error ? (
          <Unanswered error={answer.error} again={() => void answer.refetch()} />
        ) : (
          <Loading />
        )}
      </PageSection>
    </>
  );
}

function useExplanation({ from, to, port }: Asked, at: string) {
  const { client } = useApi();
  return useQuery({
    queryKey: ['explain', from, to, port, at],
    enabled: from !== '' && to !== '',
    queryFn: async ({ signal }) => {
      const body = { from, to, ...(port && { port }), ...(at && { at }) };
      return (await data(client.POST('/api/v1/explain', { signal, body }))) as Explanation;
    },
  });
}

/** Connections between the same ends, for What if. */
function queryOf(from: string, to: string): string | undefined {
  const pod = (ref: string) => /^([^/]+)\/([^/@]+)$/.exec(ref);
  const [client, server] = [pod(from), pod(to)];
  const parts = [
    client && client[1] !== 'node' && `src.namespace=${client[1]} and src.pod=${client[2]}`,
    server && server[1] !== 'node' && `dst.namespace=${server[1]} and dst.pod=${server[2]}`,
  ].filter(Boolean);
  return parts.length > 0 ? parts.join(' and ') : undefined;
}

function Unanswered({ error, again }: { error: Error; again: () => void }) {
  const { t } = useTranslation('explain');
  const problem = error instanceof ProblemError ? error.problem : undefined;
  if (!problem?.type.endsWith(':cannot-know')) return <Failed error={error} again={again} />;
  return (
    <EmptyState icon={QuestionCircleIcon} titleText={t('unknown.title')} headingLevel="h2">
      <EmptyStateBody>
        {/* The title has said that. */}
        <p>{problem.detail?.replace(/^cannot know: /, '')}</p>
        <p>{t('unknown.hint')}</p>
      </EmptyStateBody>
    </EmptyState>
  );
}
