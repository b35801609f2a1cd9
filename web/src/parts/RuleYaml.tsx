import { Content } from '@patternfly/react-core';
import { useMemo } from 'react';
import { useTranslation } from 'react-i18next';
import type { Half, Owner } from '../api/client';
import { policyRef, ruleRef } from './ends';
import { Yaml, type Tone } from './Yaml';
import { chosenMarks } from './yaml/chosen';
import { usePolicy } from './usePolicy';

/** The lines of the rule that decided, in the text of its policy. Nothing where there is no such text. */
export function RuleYaml({ half }: { half: Half }) {
  const { owner } = half;
  if (!owner || !ruleRef(owner)) return null;
  return <Text owner={owner} tone={half.verdict === 'dropped' || half.verdict === 'rejected' ? 'danger' : 'success'} />;
}

function Text({ owner, tone }: { owner: Owner; tone: Tone }) {
  const { t } = useTranslation();
  const { data: known } = usePolicy(policyRef(owner));
  const written = known?.written;
  const rule = ruleRef(owner);
  const marks = useMemo(
    () => (written ? chosenMarks(written, rule).map((mark) => ({ ...mark, tone })) : []),
    [written, rule, tone],
  );
  const [first] = marks;
  if (!written || !first) return null;
  return (
    <div data-testid="rule-yaml">
      <Content component="small">{t('rule.written', { file: written.file, line: first.from })}</Content>
      <Yaml
        label={written.object}
        text={written.text.trimEnd()}
        firstLine={written.first_line}
        marks={marks}
        reveal={first.from}
        maxHeight="12rem"
      />
    </div>
  );
}
