import { useTranslation } from 'react-i18next';
import { Badge } from '../../parts/End';
import type { Place } from './graph';

const LETTERS = { namespace: 'NS', workload: 'W', node: 'N' };

/** The letters that tell what a place is. */
export function PlaceBadge({ place }: { place: Place }) {
  const { t } = useTranslation('topology');
  const { level, kind, namespace, name } = place;
  const isOf =
    (level === 'namespace' && namespace) || (level === 'node' && name) || (level === 'workload' && kind === 'pod');
  if (level === 'pod' || !isOf) return <Badge kind={(kind || 'none') as 'pod'} />;
  const title = t(`level.${level}`);
  return (
    <abbr className={`nv-badge nv-badge-${level}`} title={title} aria-label={title}>
      {LETTERS[level]}
    </abbr>
  );
}
