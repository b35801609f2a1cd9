import { Card, CardBody, CardHeader, CardTitle, ClipboardCopy, Label, Switch } from '@patternfly/react-core';
import { Table, Tbody, Td, Tr } from '@patternfly/react-table';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../../api/client';
import { Columns } from '../../parts/Columns';
import { useUrl } from '../../state/url';

type Finding = Schemas['HealthFinding'];

const LOOKS = {
  fail: { status: 'danger' },
  warn: { status: 'warning' },
  unknown: { status: 'info' },
  skip: { color: 'grey' },
  ok: { status: 'success' },
} as const;
type State = keyof typeof LOOKS;
/** The worst first. */
const ORDER = Object.keys(LOOKS);

/** What doctor finds; what is as it should be on request. */
export function Findings({ findings }: { findings: Finding[] }) {
  const { t } = useTranslation('health');
  const [all, setAll] = useUrl('checks');
  const shown = findings
    .filter(({ state }) => all === 'all' || (state !== 'ok' && state !== 'skip'))
    .sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  return (
    <Card>
      <CardHeader
        actions={{
          actions: (
            <Switch
              label={t('findings.all')}
              isChecked={all === 'all'}
              onChange={(_, checked) => setAll(checked ? 'all' : '')}
            />
          ),
          hasNoOffset: true,
        }}
      >
        <CardTitle component="h2">{t('findings.title')}</CardTitle>
      </CardHeader>
      <CardBody>
        {shown.length === 0 ? (
          t('findings.fine')
        ) : (
          <Table variant="compact" aria-label={t('findings.title')}>
            <Columns
              titles={[
                t('findings.state'),
                t('findings.check'),
                t('findings.zone'),
                t('findings.seen'),
                t('findings.mend'),
              ]}
            />
            <Tbody>
              {shown.map((finding, at) => (
                <Row key={at} finding={finding} />
              ))}
            </Tbody>
          </Table>
        )}
      </CardBody>
    </Card>
  );
}

function Row({ finding: { area, check, zone, state, seen, why, mend } }: { finding: Finding }) {
  const { t } = useTranslation('health');
  return (
    <Tr>
      <Td dataLabel={t('findings.state')}>
        <Label isCompact variant="outline" {...LOOKS[state as State]}>
          {t(`findings.states.${state}`)}
        </Label>
      </Td>
      <Td dataLabel={t('findings.check')}>
        {t(`findings.areas.${area}`)}: {check}
      </Td>
      <Td dataLabel={t('findings.zone')}>{zone ?? '–'}</Td>
      <Td dataLabel={t('findings.seen')} className="nv-words">
        {seen}
        {why && <div>{why}</div>}
      </Td>
      <Td dataLabel={t('findings.mend')}>
        {mend && (
          <ClipboardCopy
            isCode
            variant="inline-compact"
            hoverTip={t('findings.copy')}
            clickTip={t('findings.copied')}
            copyAriaLabel={t('findings.copy')}
          >
            {mend}
          </ClipboardCopy>
        )}
      </Td>
    </Tr>
  );
}
