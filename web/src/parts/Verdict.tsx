import {
  BanIcon,
  CheckCircleIcon,
  ExclamationCircleIcon,
  LongArrowAltRightIcon,
  QuestionCircleIcon,
} from '@patternfly/react-icons';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import type { Verdict as Word } from '../api/client';

const SIGNS: Record<Word, ReactNode> = {
  allowed: <CheckCircleIcon />,
  dropped: <BanIcon />,
  rejected: <ExclamationCircleIcon />,
  delegated: <LongArrowAltRightIcon />,
  unknown: <QuestionCircleIcon />,
};

/** The colour of a verdict in charts and pictures, in either theme. */
export const VERDICT_COLOR: Record<Word, string> = {
  allowed: 'var(--pf-t--global--color--status--success--default)',
  dropped: 'var(--pf-t--global--color--status--danger--default)',
  rejected: 'var(--pf-t--global--color--status--warning--default)',
  delegated: 'var(--pf-t--global--color--status--info--default)',
  unknown: 'var(--pf-t--global--icon--color--subtle)',
};

/** A verdict by colour, sign and word. PatternFly's Label measures itself, which tables with hundreds of them feel. */
export function Verdict({ verdict }: { verdict: Word }) {
  const { t } = useTranslation();
  return (
    <span className={`nv-verdict nv-verdict-${verdict}`}>
      {SIGNS[verdict]}
      {t(`verdict.${verdict}`)}
    </span>
  );
}
