import { Label } from '@patternfly/react-core';
import { ExclamationTriangleIcon } from '@patternfly/react-icons';
import { useTranslation } from 'react-i18next';

/** Says that updates never came here. */
export function Lost({ updates }: { updates: number | null }) {
  const { t } = useTranslation('traffic');
  return (
    <Label color="yellow" icon={<ExclamationTriangleIcon />} data-testid="lost">
      {updates === null ? t('live.lostUnknown') : t('live.lostHere', { count: updates })}
    </Label>
  );
}
