import { Table, Tbody, Td, Tr } from '@patternfly/react-table';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import type { Owner, Schemas } from '../../api/client';
import { Columns } from '../../parts/Columns';
import { formatCount, formatShare } from '../../parts/counts';
import { Time } from '../../parts/Time';
import { useTo, useUrl } from '../../state/url';
import { trafficOf } from './queries';
import { isUnused, ruleKey, silence, type Policy, type Rule } from './used';

/** The rules of a policy with how often each decided, and how sure it is that nobody uses one. */
export function Rules({ policy, acls }: { policy: Policy; acls: Schemas['KnownAcl'][] }) {
  const { t } = useTranslation('policies');
  const to = useTo();
  const [chosen, setChosen] = useUrl('rule');
  const share = (rule: Rule) => {
    const own = acls.filter((acl) => ruleKey(acl.owner as unknown as Owner) === rule.key);
    return own.length > 0 ? Math.min(...own.map((acl) => acl.sampled_new)) : undefined;
  };
  return (
    <section>
      <h3>{t('rules_of')}</h3>
      <Table variant="compact" gridBreakPoint="grid-lg" aria-label={t('rules_of')}>
        <Columns
          titles={[
            t('column.rule'),
            t('column.does'),
            t('column.connections'),
            t('column.packets'),
            t('column.dropped'),
            t('column.last'),
          ]}
        />
        <Tbody>
          {policy.rules.map((rule) => (
            <Tr
              key={`${rule.key} ${rule.action}`}
              isClickable
              isRowSelected={rule.key === chosen}
              onRowClick={() => setChosen(rule.key === chosen ? '' : rule.key)}
            >
              <Td dataLabel={t('column.rule')}>
                <strong>{rule.key.replace(':', ' ')}</strong>
                {!rule.inForce && <div className="nv-subtle-text">{t('rule_gone')}</div>}
              </Td>
              <Td dataLabel={t('column.does')}>{rule.message ?? rule.action}</Td>
              <Td dataLabel={t('column.connections')}>
                {rule.connections > 0 ? (
                  <Link to={to('/traffic', { q: trafficOf(policy.owner, rule) })}>{formatCount(rule.connections)}</Link>
                ) : (
                  isUnused(rule) && <Unused rule={rule} share={share(rule)} />
                )}
              </Td>
              <Td dataLabel={t('column.packets')}>{formatCount(rule.packets)}</Td>
              <Td dataLabel={t('column.dropped')}>{formatCount(rule.dropped)}</Td>
              <Td dataLabel={t('column.last')}>{rule.last ? <Time at={rule.last} /> : t('never')}</Td>
            </Tr>
          ))}
        </Tbody>
      </Table>
    </section>
  );
}

function Unused({ rule, share }: { rule: Rule; share: number | undefined }) {
  const { t } = useTranslation('policies');
  const sure = silence(rule.sampled, share);
  return (
    <>
      <div>{t(sure === 'nothing' ? 'unknown_use' : 'no_use')}</div>
      <div className="nv-subtle-text">{t(`silence.${sure}`, { share: formatShare(share ?? 1) })}</div>
    </>
  );
}
