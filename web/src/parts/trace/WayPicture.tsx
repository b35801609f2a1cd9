import { BanIcon, CheckCircleIcon, LongArrowAltRightIcon, QuestionCircleIcon } from '@patternfly/react-icons';
import { useTranslation } from 'react-i18next';
import { StationCard } from './StationCard';
import type { Way } from './types';
import { decider } from './words';

interface Props {
  way: Way;
  from: string;
  to: string;
  label: string;
}

/** One packet's way: from an end through every pipeline to the other, or to where it ends. */
export function WayPicture({ way, from, to, label }: Props) {
  const { t } = useTranslation('trace');
  const { stations, verdict, message, packet } = way;
  const last = decider(stations, verdict);
  const arrives = verdict === 'allowed';
  const Sign = arrives ? CheckCircleIcon : verdict === 'unknown' ? QuestionCircleIcon : BanIcon;
  return (
    <div className="nv-way" data-verdict={verdict}>
      <ol aria-label={label}>
        <li>
          <div className="nv-way-end">{from}</div>
        </li>
        {stations.map((station) => (
          <li key={`${station.zone} ${station.switch} ${station.pipeline} ${station.port}`}>
            <LongArrowAltRightIcon className="nv-arrow" />
            <StationCard station={station} ends={station === last} />
          </li>
        ))}
        <li>
          <LongArrowAltRightIcon className="nv-arrow" />
          <div className="nv-way-end" data-verdict={verdict}>
            <Sign /> {arrives ? to : t(`ends.${verdict}`)}
          </div>
        </li>
      </ol>
      <p className="nv-subtle-text">
        <code>{packet}</code> {message}
      </p>
    </div>
  );
}
