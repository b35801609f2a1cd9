import { Card, CardBody, CardHeader, ExpandableSection, Label } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import { Place } from './Place';
import type { Ruling, Station } from './types';

const COLORS = {
  allow: 'green',
  'allow-related': 'green',
  'allow-stateless': 'green',
  pass: 'blue',
  drop: 'red',
  reject: 'orange',
} as const;

/** A pipeline that was asked: its tiers in order, and what decided. */
export function StationCard({ station, ends }: { station: Station; ends: boolean }) {
  const { t } = useTranslation('trace');
  const { pipeline, party, port, node, zone, tiers, refused = [], by, message } = station;
  const at = station.switch;
  return (
    <Card isCompact className={ends ? 'nv-station nv-station-ends' : 'nv-station'} component="div">
      <CardHeader>
        <strong>{party ? t(`pipeline.${pipeline}`, { party }) : t('switch', { name: at })}</strong>
        <div className="nv-subtle-text">
          {node ? t('on.node', { name: node }) : t('on.zone', { name: zone })}, <code>{pipeline}</code>
          {port && (
            <>
              , <code>{port}</code>
            </>
          )}
        </div>
      </CardHeader>
      <CardBody>
        <ol className="nv-tiers">
          {tiers.map(({ tier, acls, ruling }) => (
            <li key={tier}>
              <span className="nv-tier">{t('tier', { tier })}</span>
              {ruling ? (
                <RulingView ruling={ruling} />
              ) : (
                <span className="nv-subtle-text">{t('none', { count: acls })}</span>
              )}
            </li>
          ))}
        </ol>
        {by !== 'acl' && <p>{message}</p>}
        {refused.map(({ ruling, error }) => (
          <div key={ruling.acl} className="nv-refused">
            <p>{t('refused', { error })}</p>
            <RulingView ruling={ruling} />
          </div>
        ))}
      </CardBody>
    </Card>
  );
}

/** An ACL: what it does and whose it is, where that is written, and its row for those who ask. */
function RulingView({ ruling }: { ruling: Ruling }) {
  const { t } = useTranslation('trace');
  const { action, message, sources, match, priority, id, acl } = ruling;
  return (
    <div className="nv-ruling">
      <div>
        <Label isCompact variant="outline" color={COLORS[action]}>
          {action}
        </Label>{' '}
        {message}
      </div>
      {sources.length > 0 && (
        <ul className="nv-places">
          {sources.map((source) => (
            <li key={`${source.object} ${source.rule} ${source.line}`}>
              <Place source={source} />
            </li>
          ))}
        </ul>
      )}
      <ExpandableSection toggleText={t('acl')} isIndented>
        <dl className="nv-acl">
          <dt>{t('match')}</dt>
          <dd>
            <code>{match}</code>
          </dd>
          <dt>{t('priority')}</dt>
          <dd>{priority}</dd>
          {id && (
            <>
              <dt>{t('id')}</dt>
              <dd>
                <code>{id}</code>
              </dd>
            </>
          )}
          <dt>{t('row')}</dt>
          <dd>
            <code>{acl}</code>
          </dd>
        </dl>
      </ExpandableSection>
    </div>
  );
}
