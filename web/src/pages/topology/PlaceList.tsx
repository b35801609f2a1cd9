import { Button } from '@patternfly/react-core';
import { InfoCircleIcon } from '@patternfly/react-icons';
import { useTranslation } from 'react-i18next';
import { step, type Place } from './graph';
import { More, useMore } from './More';
import { PlaceBadge } from './PlaceBadge';
import { usePlaceName } from './words';

interface Props {
  places: Place[];
  chosen: string;
  onChoose: (id: string) => void;
  onStep: (place: Place) => void;
}

/** The places of the picture, those with denied connections first. Enter steps into one. */
export function PlaceList({ places, chosen, onChoose, onStep }: Props) {
  const { t } = useTranslation('topology');
  const nameOf = usePlaceName();
  const sorted = [...places].sort((one, other) => other.denied - one.denied || other.connections - one.connections);
  const { shown, more } = useMore(sorted);
  return (
    <>
      <ul className="nv-rows" aria-label={t('tabs.places')}>
        {shown.map((place) => {
          const name = nameOf(place);
          const canStep = step(place) !== undefined;
          return (
            <li key={place.id} className="nv-row-pair">
              <button
                type="button"
                className="nv-row"
                data-row
                data-open={place.id}
                aria-current={place.id === chosen || undefined}
                title={canStep ? t('step', { name }) : undefined}
                onClick={() => (canStep ? onStep(place) : onChoose(place.id))}
              >
                <span className="nv-row-name">
                  <PlaceBadge place={place} /> {name}
                </span>
                <span className="nv-row-facts">
                  {place.denied > 0 && <span className="nv-denied">{t('denied', { count: place.denied })}</span>}
                  <span>{t('connections', { count: place.connections })}</span>
                </span>
              </button>
              {canStep && (
                <Button
                  variant="plain"
                  icon={<InfoCircleIcon />}
                  aria-label={t('open', { name })}
                  onClick={() => onChoose(place.id)}
                />
              )}
            </li>
          );
        })}
      </ul>
      <More {...more} />
    </>
  );
}
