import { Label, LabelGroup } from '@patternfly/react-core';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../../api/client';
import { Time } from '../../parts/Time';

/** Who answers, and as of when. */
export function Versions({ health }: { health: Schemas['Health'] }) {
  const { t } = useTranslation('health');
  return (
    <LabelGroup aria-label={t('version.title')}>
      <Label isCompact>{`${t('version.netverdict')} ${health.netverdict}`}</Label>
      <Label isCompact variant="outline">
        {t('version.at')}&nbsp;
        <Time at={health.time} />
      </Label>
    </LabelGroup>
  );
}
