import { Alert } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../../api/client';

/** What is wrong with the text, as a list beside the marks in it. */
export function Mistakes({ mistakes }: { mistakes: Schemas['Mistake'][] }) {
  const { t } = useTranslation('whatif');
  if (mistakes.length === 0) return null;
  const wrong = mistakes.some(({ severity }) => severity === 'error');
  return (
    <Alert isInline variant={wrong ? 'danger' : 'warning'} title={t(wrong ? 'wrong' : 'doubtful')} role="alert">
      <ul>
        {mistakes.map(({ message, line, column }) => (
          <li key={`${line} ${column} ${message}`}>
            {line != null && <strong>{t('place', { line, column })} </strong>}
            {message}
          </li>
        ))}
      </ul>
    </Alert>
  );
}
