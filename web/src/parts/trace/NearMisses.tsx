import { useTranslation } from 'react-i18next';
import { Place } from './Place';
import type { Near } from './types';

/** Who isolates, and the rules that came closest with what fails in them. */
export function NearMisses({ near }: { near: Near }) {
  const { t } = useTranslation('trace');
  const { direction, isolating, misses } = near;
  return (
    <>
      {isolating.length > 0 && (
        <section>
          <h4>{t('isolating', { direction: t(`direction.${direction}`) })}</h4>
          <ul className="nv-places">
            {isolating.map((source) => (
              <li key={`${source.object} ${source.line}`}>
                <Place source={source} />
              </li>
            ))}
          </ul>
        </section>
      )}
      <section>
        <h4>{t('near')}</h4>
        {misses.length === 0 && <p>{t('far')}</p>}
        <ol className="nv-misses">
          {misses.map((miss) => (
            <li key={`${miss.object} ${miss.rule} ${miss.line}`}>
              <Place source={miss} />
              <ul>
                {miss.failing.map((term) => (
                  <li key={`${term.message} ${term.line}`}>
                    {term.message}
                    {term.line !== undefined && (
                      <span className="nv-subtle-text"> {t('line', { line: term.line })}</span>
                    )}
                  </li>
                ))}
              </ul>
            </li>
          ))}
        </ol>
      </section>
    </>
  );
}
