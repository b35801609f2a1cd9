import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import { policyRef, ruleRef } from '../../parts/ends';
import { ownerOf, useLines } from '../../parts/lines';
import { Asked } from '../../parts/states';
import { Verdict } from '../../parts/Verdict';
import type { Verdict as Word } from '../../api/client';
import { useTo } from '../../state/url';

const MOST = 30;
const BY = 'owner.kind, owner.namespace, owner.name, direction, rule.index, message, verdict';

/** The policies that decided the connections of a query, each rule with what it said. */
export function PairPolicies({ q }: { q: string }) {
  const { t } = useTranslation('topology');
  const link = useTo();
  const query = useLines(`${q} | count by ${BY} top ${MOST}`);
  return (
    <Asked query={query}>
      {({ lines, total }) => {
        const named = lines.filter((line) => line['owner.kind'] !== null);
        return (
          <>
            {named.length === 0 && <p>{t('noPolicy')}</p>}
            <ul className="nv-facts">
              {named.map((line, index) => {
                const owner = ownerOf(line);
                const rule = ruleRef(owner);
                const says = line.message ?? t('unowned');
                return (
                  <li key={index}>
                    <Verdict verdict={line.verdict as Word} /> {Number(line.count).toLocaleString()} ·{' '}
                    {owner.kind === 'Unowned' ? (
                      says
                    ) : (
                      <Link to={link('/policies', { policy: policyRef(owner), ...(rule && { rule }) })}>
                        {says}
                        {rule && `, ${t('rule', { index: line['rule.index'] })}`}
                      </Link>
                    )}
                  </li>
                );
              })}
            </ul>
            {total > lines.length && <p>{t('moreRows', { count: total - lines.length })}</p>}
          </>
        );
      }}
    </Asked>
  );
}
