import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import type { Owner } from '../../api/client';
import { and, quoted } from '../../parts/clauses';
import { policyRef } from '../../parts/ends';
import { ownerOf, useLines } from '../../parts/lines';
import { Asked } from '../../parts/states';
import { useTo } from '../../state/url';
import { Panel } from './Panel';
import { Ranked } from './Ranked';

const MOST = 8;
/** Of each connection that was denied, the half that let it through is told as well. */
const ASKED = 50;
const DENIES = 'action in (drop, reject)';

/** The policies that decided most connections, or denied most. */
export function TopPolicies({ by }: { by: 'connections' | 'drops' }) {
  const { t } = useTranslation('overview');
  const link = useTo();
  const isDrops = by === 'drops';
  const query = useLines(
    isDrops
      ? `${DENIES} | count by owner.kind, owner.namespace, owner.name, action top ${ASKED}`
      : `| count by owner.kind, owner.namespace, owner.name top ${MOST + 1}`,
  );
  return (
    <Panel title={t(`policies.${by}`)} more={{ to: link('/policies'), text: t('policies.all') }}>
      <Asked query={query}>
        {({ lines }) => {
          const own = lines.filter((line) => line['owner.kind'] && (!isDrops || denies(line.action)));
          if (own.length === 0) return <p>{t(isDrops ? 'policies.noDrops' : 'policies.none')}</p>;
          return (
            <Ranked
              rows={own.slice(0, MOST).map((line) => {
                const owner = ownerOf(line);
                const count = Number(line.count);
                return {
                  key: `${policyRef(owner)} ${line.action ?? ''}`,
                  count,
                  name: <Name owner={owner} />,
                  facts: (
                    <Link
                      to={link('/traffic', { q: and(clauseOf(owner), isDrops && DENIES) })}
                      aria-label={t('policies.show', { count })}
                    >
                      {count.toLocaleString()}
                    </Link>
                  ),
                };
              })}
            />
          );
        }}
      </Asked>
    </Panel>
  );
}

function Name({ owner }: { owner: Owner }) {
  const { t } = useTranslation('overview');
  const link = useTo();
  const { kind, namespace, name } = owner;
  if (kind === 'Unowned') return <>{t('policies.unowned')}</>;
  const text =
    kind === 'NetpolNamespace'
      ? t('policies.defaultDeny', { namespace })
      : `${kind} ${[namespace, name].filter(Boolean).join('/')}`;
  return <Link to={link('/policies', { policy: policyRef(owner) })}>{text}</Link>;
}

function denies(action: unknown): boolean {
  return action === 'drop' || action === 'reject';
}

function clauseOf({ kind, namespace, name }: Owner): string {
  const is = (field: string, value: string | null | undefined) => (value ? `owner.${field}=${quoted(value)}` : '');
  return and(is('kind', kind), is('namespace', namespace), is('name', name));
}
