import { useTranslation } from 'react-i18next';
import { diffLines, type DiffLine } from './fixes';

const SIGNS: Record<DiffLine['kind'], string> = { same: ' ', old: '-', new: '+', place: '' };

/** A change of a text. */
export function Diff({ diff }: { diff: string }) {
  const { t } = useTranslation('trace');
  return (
    <pre className="nv-diff" tabIndex={0} aria-label={t('diff')}>
      {diffLines(diff).map(({ kind, text }, place) => (
        <div key={place} data-kind={kind}>
          {SIGNS[kind]}
          {text}
        </div>
      ))}
    </pre>
  );
}
