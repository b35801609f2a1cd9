import { Alert, ExpandableSection } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { CaseView } from './trace/CaseView';
import { SinceThen } from './trace/SinceThen';
import type { Explanation } from './trace/types';
import { Verdict } from './Verdict';
import './trace/trace.css';

export type { Explanation } from './trace/types';

interface Props {
  /** What POST /explain says. */
  explanation: Explanation;
  /** Which connections What if is to show where a fix is put into it. */
  query?: string;
}

/**
 * An explanation: verdict and sentence, every pipeline and tier on the way with what decided, what came closest, the
 * smallest fix, and the walk step by step.
 */
export function Trace({ explanation, query }: Props) {
  const { t } = useTranslation('trace');
  const { from, to, verdict, message, cases, notes = [], left_out: leftOut = [], as_of: asOf } = explanation;
  return (
    <div className="nv-trace">
      <p className="nv-headline">
        <Verdict verdict={verdict} /> {message}
      </p>
      {asOf && <SinceThen asOf={asOf} />}
      {leftOut.length > 0 && (
        <Alert isInline variant="warning" title={t('left_out', { count: leftOut.length })}>
          {leftOut.join(', ')}
        </Alert>
      )}
      {notes.map((note) => (
        <Alert key={note} isInline isPlain variant="info" title={note} />
      ))}
      {cases.length === 1 && cases[0] ? (
        <CaseView it={cases[0]} from={from} to={to} query={query} />
      ) : (
        cases.map((it, place) => (
          <ExpandableSection
            key={place}
            displaySize="lg"
            isIndented
            toggleContent={
              <>
                <Verdict verdict={it.verdict} /> {it.port} {it.message}
              </>
            }
          >
            <CaseView it={it} from={from} to={to} query={query} />
          </ExpandableSection>
        ))
      )}
    </div>
  );
}
