import { ExpandableSection } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { FixView } from './FixView';
import { NearMisses } from './NearMisses';
import type { Case, Party } from './types';
import { Walk } from './Walk';
import { WayPicture } from './WayPicture';
import { refOf } from './words';

interface Props {
  it: Case;
  from: Party;
  to: Party;
  /** Which connections What if is to show. */
  query?: string;
}

/** One pair of addresses, port and backend. */
export function CaseView({ it, from, to, query }: Props) {
  const { t } = useTranslation('trace');
  const { service, request, reply, near, fix, state = [] } = it;
  const ends = [refOf(from), refOf(service?.backend ?? to)] as const;
  return (
    <div className="nv-case">
      {service && (
        <p>
          {t('service', {
            count: service.backends,
            service: service.service,
            at: [service.ip, service.port].join(':'),
            backend: service.backend ? [refOf(service.backend), service.backend_port].join(':') : t('nobody'),
          })}
        </p>
      )}
      <h4>{t('request')}</h4>
      <WayPicture way={request} from={ends[0]} to={ends[1]} label={t('request')} />
      {near && <NearMisses near={near} />}
      {fix && <FixView fix={fix} query={query} />}
      {near && !fix && <p>{t('unfixed')}</p>}
      {reply && (
        <ExpandableSection toggleText={t('reply.title', { message: t(`reply.${reply.verdict}`) })}>
          <WayPicture way={reply} from={ends[1]} to={ends[0]} label={t('reply.label')} />
        </ExpandableSection>
      )}
      {state.length > 0 && (
        <section>
          <h4>{t('state')}</h4>
          <ul>
            {state.map((sentence) => (
              <li key={sentence}>{sentence}</li>
            ))}
          </ul>
        </section>
      )}
      <ExpandableSection toggleText={t('walk.title')}>
        <Walk walk={request.walk} />
        {reply && (
          <>
            <h4>{t('reply.label')}</h4>
            <Walk walk={reply.walk} />
          </>
        )}
      </ExpandableSection>
    </div>
  );
}
