import {
  Card,
  CardBody,
  CardTitle,
  DescriptionList,
  DescriptionListDescription,
  DescriptionListGroup,
  DescriptionListTerm,
} from '@patternfly/react-core';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../../api/client';
import { formatBytes, formatCount } from '../../parts/counts';
import { Time } from '../../parts/Time';

/** What is kept, and who listens. */
export function Stored({ sources: { store, live } }: { sources: Schemas['Sources'] }) {
  const { t } = useTranslation('health');
  const rows: [string, ReactNode][] = [
    [t('store.rows'), store.rows == null ? t('zones.untold') : formatCount(store.rows)],
    [t('store.bytes'), store.bytes ? formatBytes(store.bytes) : t('store.memory')],
    [
      t('store.span'),
      store.since && store.until ? (
        <>
          <Time at={store.since} /> {t('store.until')} <Time at={store.until} />
        </>
      ) : (
        t('store.empty')
      ),
    ],
    [t('store.updates'), formatCount(live.updates)],
    [t('store.readers'), formatCount(live.readers)],
  ];
  return (
    <Card>
      <CardTitle component="h2">{t('store.title')}</CardTitle>
      <CardBody>
        <DescriptionList isCompact columnModifier={{ default: '1Col', md: '2Col', xl: '3Col' }}>
          {rows.map(([term, value]) => (
            <DescriptionListGroup key={term}>
              <DescriptionListTerm>{term}</DescriptionListTerm>
              <DescriptionListDescription>{value}</DescriptionListDescription>
            </DescriptionListGroup>
          ))}
        </DescriptionList>
      </CardBody>
    </Card>
  );
}
