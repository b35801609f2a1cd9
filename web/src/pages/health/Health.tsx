import { Alert, Flex, FlexItem, PageSection, Stack, StackItem, Title } from '@patternfly/react-core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { data, useApi } from '../../api/client';
import { Asked } from '../../parts/states';
import { losses } from './lost';
import { Counters } from './Counters';
import { Findings } from './Findings';
import { Losses } from './Losses';
import { Stored } from './Stored';
import { Versions } from './Versions';
import { Zones } from './Zones';

/** Counters move all the time; databases are looked at once a minute, however often this asks. */
const EVERY = 5_000;

/** Nodes, sampling, losses, and what doctor finds. */
export default function Health() {
  const { t } = useTranslation('health');
  const { client } = useApi();
  const asked = { refetchInterval: EVERY, placeholderData: keepPreviousData };
  const sources = useQuery({ queryKey: ['sources'], queryFn: () => data(client.GET('/api/v1/sources')), ...asked });
  const health = useQuery({ queryKey: ['health'], queryFn: () => data(client.GET('/api/v1/health')), ...asked });
  const lost = sources.data && new Set(losses(sources.data).map(({ place }) => place)).size;
  const failing = health.data?.findings.filter(({ state }) => state === 'fail').length;
  return (
    <PageSection>
      <Stack hasGutter>
        <StackItem>
          <Flex alignItems={{ default: 'alignItemsCenter' }}>
            <Title headingLevel="h1">{t('title')}</Title>
            <FlexItem>{health.data && <Versions health={health.data} />}</FlexItem>
          </Flex>
        </StackItem>
        {lost !== undefined && failing !== undefined && (
          <StackItem>
            <Alert
              isInline
              component="p"
              variant={failing ? 'danger' : lost ? 'warning' : 'success'}
              title={
                [lost && t('summary.lost', { count: lost }), failing && t('summary.fails', { count: failing })]
                  .filter(Boolean)
                  .join(' ') || t('summary.fine')
              }
            />
          </StackItem>
        )}
        <StackItem>
          <Asked query={health}>{(health) => <Zones health={health} />}</Asked>
        </StackItem>
        <StackItem>
          <Asked query={sources}>
            {(sources) => (
              <Stack hasGutter>
                <Losses sources={sources} />
                <Stored sources={sources} />
              </Stack>
            )}
          </Asked>
        </StackItem>
        <StackItem>{health.data && <Findings findings={health.data.findings} />}</StackItem>
        <StackItem>{sources.data && <Counters sources={sources.data} />}</StackItem>
      </Stack>
    </PageSection>
  );
}
