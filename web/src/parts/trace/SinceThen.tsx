import { Alert } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import type { Owner } from '../../api/client';
import { useTo } from '../../state/url';
import { policyRef } from '../ends';
import { Time } from '../Time';
import type { Explanation } from './types';

/** How far an answer, which is of now, is good for the time that was asked about. */
export function SinceThen({ asOf }: { asOf: NonNullable<Explanation['as_of']> }) {
  const { t } = useTranslation('trace');
  const to = useTo();
  const { at, known_since: known, changes } = asOf;
  if (!known && changes.length === 0) return <p className="nv-subtle-text">{t('since.same')}</p>;
  return (
    <Alert isInline variant="warning" title={t(changes.length > 0 ? 'since.changed' : 'since.unknown')}>
      {known && (
        <p>
          {t('since.from')} <Time at={known} />. {t('since.asked')} <Time at={at} />.
        </p>
      )}
      <ul>
        {changes.map(({ owner: whose, change, time }) => {
          const owner = whose as unknown as Owner;
          const policy = policyRef(owner);
          return (
            <li key={policy}>
              <Link to={to('/policies', { policy })}>
                {owner.kind} {[owner.namespace, owner.name].filter(Boolean).join('/')}
              </Link>{' '}
              {t(`since.${change}`)} (<Time at={time} />)
            </li>
          );
        })}
      </ul>
    </Alert>
  );
}
