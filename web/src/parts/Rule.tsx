import { Label } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import type { Half } from '../api/client';
import { useTo } from '../state/url';
import { policyRef, ruleRef } from './ends';
import { Verdict } from './Verdict';

interface RuleProps {
  half: Half;
  /** Whether the verdict stands before it. */
  verdict?: boolean;
  /** Over several lines, instead of cut to one. */
  wrap?: boolean;
}

/** What one direction's policies said: the verdict, and the sentence as a link to the policy's rule. */
export function Rule({ half, verdict = true, wrap = false }: RuleProps) {
  const { t } = useTranslation();
  const to = useTo();
  const { owner, message, acl } = half;
  const index = owner?.rule?.index;
  const sentence = index === undefined ? message : `${message}, ${t('rule.number', { index })}`;
  const rule = owner && ruleRef(owner);
  return (
    <span className="nv-rule">
      {verdict && <Verdict verdict={half.verdict} />}
      {owner?.kind && owner.kind !== 'Unowned' ? (
        <Link
          to={to('/policies', { policy: policyRef(owner), ...(rule && { rule }) })}
          className={wrap ? undefined : 'nv-cut'}
          title={sentence}
          onClick={(event) => event.stopPropagation()}
        >
          {sentence}
        </Link>
      ) : (
        <span className={wrap ? undefined : 'nv-cut'} title={sentence}>
          {sentence || t('rule.nothing')}
        </span>
      )}
      {acl?.deleted && (
        <Label isCompact color="yellow">
          {t('rule.deleted')}
        </Label>
      )}
    </span>
  );
}
