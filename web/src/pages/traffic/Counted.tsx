import { useTranslation } from 'react-i18next';
import type { Connection } from '../../api/client';
import { count, formatBytes, formatCount, formatShare, type What } from '../../parts/counts';

interface CountedProps {
  c: Connection;
  what: What;
  bytes?: boolean;
}

/** Packets or bytes: all there were as far as samples tell, with `~` where not all were seen. */
export function Counted({ c, what, bytes = false }: CountedProps) {
  const { t } = useTranslation();
  const { estimate, probabilities, ...seen } = count(c.counts, what);
  const of = bytes ? 'bytes' : 'packets';
  const format = bytes ? formatBytes : formatCount;
  if (!estimate) return <span title={t('counts.exact', { n: formatCount(seen[of]) })}>{format(seen[of])}</span>;
  const title = t('counts.estimate', {
    seen: formatCount(seen.packets),
    estimate: formatCount(estimate.packets),
    low: formatCount(estimate.low),
    high: formatCount(estimate.high),
    share: probabilities.map(formatShare).join(', '),
  });
  return (
    <span title={title} aria-label={t('counts.about', { n: format(estimate[of]) })}>
      ~{format(estimate[of])}
    </span>
  );
}
