import { Alert, Title } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { formatCount } from '../../parts/counts';
import { Changes } from './Changes';
import { endOf, portOf, type Answer, type Count } from './answer';

/** What would change, how many were judged, and what could not be. */
export function Result({ answer }: { answer: Answer }) {
  const { t } = useTranslation('whatif');
  const { changes, unknown, summary } = answer;
  const said = ({ connections, pairs }: Count) => ({ n: formatCount(connections), count: connections, pairs });
  const of = (change: 'opened' | 'closed') => changes.filter((it) => it.change === change);
  return (
    <div className="nv-whatif-result">
      {summary.judged.pairs === 0 ? (
        <Alert isInline variant="warning" title={t('none_judged.title')}>
          {t('none_judged.hint')}
        </Alert>
      ) : changes.length === 0 ? (
        <Alert isInline variant="success" title={t('nothing')}>
          {t('judged', said(summary.judged))}
        </Alert>
      ) : (
        <Alert
          isInline
          variant={summary.closed.pairs > 0 ? 'danger' : 'info'}
          title={t('some', {
            opened: t('opened', said(summary.opened)),
            closed: t('closed', said(summary.closed)),
          })}
        >
          {t('judged', said(summary.judged))}
        </Alert>
      )}
      {(['closed', 'opened'] as const).map(
        (change) =>
          of(change).length > 0 && (
            <section key={change}>
              <Title headingLevel="h2">{t(`heading.${change}`)}</Title>
              <Changes changes={of(change)} label={t(`heading.${change}`)} />
            </section>
          ),
      )}
      {unknown.length > 0 && (
        <Alert isInline isExpandable variant="warning" title={t('unknown', said(summary.unknown))}>
          <ul>
            {unknown.map(({ pair, message }) => (
              <li key={`${endOf(pair.from)} ${endOf(pair.to)} ${portOf(pair)} ${message}`}>
                {endOf(pair.from)} → {endOf(pair.to)} {portOf(pair)}: {message}
              </li>
            ))}
          </ul>
        </Alert>
      )}
      {summary.not_reproduced > 0 && (
        <p>{t('not_reproduced', { count: summary.not_reproduced, n: formatCount(summary.not_reproduced) })}</p>
      )}
      {summary.without_verdict > 0 && (
        <p>{t('without_verdict', { count: summary.without_verdict, n: formatCount(summary.without_verdict) })}</p>
      )}
    </div>
  );
}
