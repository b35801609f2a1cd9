import { Alert } from '@patternfly/react-core';
import { useMemo } from 'react';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../../api/client';
import { formatCount } from '../../parts/counts';
import { Yaml } from '../../parts/Yaml';
import { useUrl } from '../../state/url';
import { chosenMarks } from '../../parts/yaml/chosen';
import { ruleNotes } from './lines';
import type { Policy } from './used';

/** The text of a policy, with what each rule did behind its line. */
export function PolicyYaml({ known, used }: { known: Schemas['KnownPolicy']; used: Policy | undefined }) {
  const { t } = useTranslation('policies');
  const [chosen] = useUrl('rule');
  const { written, unwritten } = known;
  const marks = useMemo(() => (written ? chosenMarks(written, chosen) : []), [written, chosen]);
  const notes = useMemo(
    () =>
      written
        ? ruleNotes(written, used, (rules) => {
            const sum = (of: 'connections' | 'dropped') => rules.reduce((sum, rule) => sum + rule[of], 0);
            const [connections, dropped] = [sum('connections'), sum('dropped')];
            const isSure = rules.length > 0 && rules.every((rule) => rule.sampled);
            if (rules.length === 0) return { text: t('note.none'), tone: 'subtle' };
            if (connections === 0) return { text: t(isSure ? 'note.unused' : 'note.unseen'), tone: 'warning' };
            const text = t('note.used', { count: connections, n: formatCount(connections) });
            return dropped > 0
              ? { text: `${text}, ${t('note.dropped', { n: formatCount(dropped), count: dropped })}`, tone: 'danger' }
              : { text, tone: 'success' };
          })
        : [],
    [written, used, t],
  );
  return (
    <section>
      <h3>{t('yaml')}</h3>
      {written ? (
        <>
          <p className="nv-subtle-text">{written.file}</p>
          <Yaml
            label={written.object}
            text={written.text.trimEnd()}
            firstLine={written.first_line}
            marks={marks}
            notes={notes}
            reveal={marks[0]?.from}
            maxHeight="32rem"
          />
        </>
      ) : (
        <Alert isInline isPlain variant="info" title={t('unwritten', { why: unwritten })} />
      )}
    </section>
  );
}
