import { Content } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { formatBytes, formatCount } from '../../parts/counts';
import { useTotals } from './useConnections';

/** What those that match come to. */
export function Summary({ q, loaded }: { q: string; loaded: number }) {
  const { t } = useTranslation('traffic');
  const { data: totals } = useTotals(q, true);
  if (!totals) return null;
  const parts = [
    t('total.connections', { count: totals.count, n: formatCount(totals.count) }),
    t('total.packets', { n: formatCount(totals.packets) }),
    t('total.bytes', { n: formatBytes(totals.bytes) }),
    ...(totals.sampled ? [t('total.sampled')] : []),
    t('total.shown', { n: formatCount(loaded) }),
  ];
  return (
    <Content component="small" className="nv-summary" data-testid="summary">
      {parts.join(' · ')}
    </Content>
  );
}
