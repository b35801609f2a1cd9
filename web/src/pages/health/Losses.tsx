import { Card, CardBody, CardTitle } from '@patternfly/react-core';
import { Table, Tbody, Td, Tr } from '@patternfly/react-table';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../../api/client';
import { Columns } from '../../parts/Columns';
import { formatCount } from '../../parts/counts';
import { losses, wordOf } from './lost';
import { Place } from './Place';

/** What was lost where, and what to do. */
export function Losses({ sources }: { sources: Schemas['Sources'] }) {
  const { t } = useTranslation('health');
  const all = losses(sources);
  return (
    <Card>
      <CardTitle component="h2">{t('losses.title')}</CardTitle>
      <CardBody>
        {all.length === 0 ? (
          t('losses.none')
        ) : (
          <Table variant="compact" aria-label={t('losses.title')}>
            <Columns titles={[t('losses.place'), t('losses.what'), t('losses.count'), t('losses.todo')]} />
            <Tbody>
              {all.map(({ place, name, value }) => (
                <Tr key={`${place} ${name}`}>
                  <Td dataLabel={t('losses.place')}>
                    <Place name={place} />
                  </Td>
                  <Td dataLabel={t('losses.what')}>{t(`counter.${wordOf(name)}`, { defaultValue: name })}</Td>
                  <Td dataLabel={t('losses.count')}>{formatCount(value)}</Td>
                  <Td dataLabel={t('losses.todo')}>
                    {t(`todo.${wordOf(name)}`, { defaultValue: t('losses.unknown') })}
                  </Td>
                </Tr>
              ))}
            </Tbody>
          </Table>
        )}
      </CardBody>
    </Card>
  );
}
