import { Label } from '@patternfly/react-core';
import {
  BanIcon,
  CheckCircleIcon,
  ExclamationCircleIcon,
  LongArrowAltRightIcon,
  QuestionCircleIcon,
} from '@patternfly/react-icons';
import { useTranslation } from 'react-i18next';
import type { Verdict as Word } from '../api/client';

const LOOKS = {
  allowed: { color: 'green', icon: <CheckCircleIcon /> },
  dropped: { color: 'red', icon: <BanIcon /> },
  rejected: { color: 'orange', icon: <ExclamationCircleIcon /> },
  delegated: { color: 'blue', icon: <LongArrowAltRightIcon /> },
  unknown: { color: 'grey', icon: <QuestionCircleIcon /> },
} as const;

/** The colour of a verdict in charts and pictures, in either theme. */
export const VERDICT_COLOR: Record<Word, string> = {
  allowed: 'var(--pf-t--global--color--status--success--default)',
  dropped: 'var(--pf-t--global--color--status--danger--default)',
  rejected: 'var(--pf-t--global--color--status--warning--default)',
  delegated: 'var(--pf-t--global--color--status--info--default)',
  unknown: 'var(--pf-t--global--icon--color--subtle)',
};

/** A verdict by colour, sign and word. */
export function Verdict({ verdict }: { verdict: Word }) {
  const { t } = useTranslation();
  return (
    <Label isCompact variant="outline" {...LOOKS[verdict]}>
      {t(`verdict.${verdict}`)}
    </Label>
  );
}
