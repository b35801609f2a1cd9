import { Card, CardBody, CardTitle, ExpandableSection } from '@patternfly/react-core';
import { Table, Tbody, Td, Tr } from '@patternfly/react-table';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../../api/client';
import { Columns } from '../../parts/Columns';
import { formatCount } from '../../parts/counts';
import { wordOf } from './lost';
import { Place } from './Place';

/** All that each place counts, in words and by the names that metrics have. */
export function Counters({ sources: { sources } }: { sources: Schemas['Sources'] }) {
  const { t } = useTranslation('health');
  return (
    <Card>
      <CardTitle component="h2">{t('places.title')}</CardTitle>
      <CardBody>
        {sources.map(({ name, counters }) => (
          <ExpandableSection key={name} toggleContent={<Place name={name} />}>
            <Table
              variant="compact"
              borders={false}
              aria-label={t('places.show', { place: name, count: counters.length })}
            >
              <Columns titles={[t('losses.what'), t('places.value'), t('places.counter')]} />
              <Tbody>
                {counters.map((counter) => (
                  <Tr key={counter.name}>
                    <Td dataLabel={t('losses.what')}>
                      {t(`counter.${wordOf(counter.name)}`, { defaultValue: counter.name })}
                    </Td>
                    <Td dataLabel={t('places.value')}>{formatCount(counter.value)}</Td>
                    <Td dataLabel={t('places.counter')}>
                      <code>{counter.name}</code>
                    </Td>
                  </Tr>
                ))}
              </Tbody>
            </Table>
          </ExpandableSection>
        ))}
      </CardBody>
    </Card>
  );
}
