import { Card, CardBody, CardTitle, Label } from '@patternfly/react-core';
import { Table, Tbody, Td, Tr } from '@patternfly/react-table';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../../api/client';
import { Columns } from '../../parts/Columns';
import { formatShare } from '../../parts/counts';

type Zone = Schemas['ZoneHealth'];

/** How each zone is sampled, and where that is not what the policies say. */
export function Zones({ health: { zones, findings } }: { health: Schemas['Health'] }) {
  const { t } = useTranslation('health');
  const columns = ['name', 'ovn', 'ovs', 'sampled', 'new', 'est', 'drift', 'collisions'] as const;
  return (
    <Card>
      <CardTitle component="h2">{t('zones.title')}</CardTitle>
      <CardBody>
        {zones.length === 0 ? (
          t('zones.none')
        ) : (
          <Table variant="compact" gridBreakPoint="grid-lg" aria-label={t('zones.title')}>
            <Columns titles={columns.map((column) => t(`zones.${column}`))} />
            <Tbody>
              {zones.map((zone) => {
                const mine = findings.filter((it) => it.zone === undefined || it.zone === zone.name);
                const cells = {
                  name: zone.name || t('zones.only'),
                  ovn: zone.ovn ?? t('zones.untold'),
                  ovs: zone.ovs ?? t('zones.untold'),
                  sampled: t('zones.of', { sampled: zone.acls - zone.unsampled, acls: zone.acls }),
                  new: <Rates rates={zone.new} />,
                  est: <Rates rates={zone.est} />,
                  drift: <Found check="drift" findings={mine} />,
                  collisions: <Found check="collisions" findings={mine} />,
                };
                return (
                  <Tr key={zone.name}>
                    {columns.map((column) => (
                      <Td key={column} dataLabel={t(`zones.${column}`)}>
                        {cells[column]}
                      </Td>
                    ))}
                  </Tr>
                );
              })}
            </Tbody>
          </Table>
        )}
      </CardBody>
    </Card>
  );
}

function Rates({ rates }: { rates: Zone['new'] }) {
  const { t } = useTranslation('health');
  const some = rates.filter(({ share }) => share > 0);
  if (some.length === 0) return t('zones.off');
  const key = some.length === 1 ? 'zones.rate' : 'zones.rates';
  return some.map(({ share, acls }) => t(key, { share: formatShare(share), acls })).join(', ');
}

/** How often a check found something. */
function Found({ check, findings }: { check: string; findings: Schemas['HealthFinding'][] }) {
  const { t } = useTranslation('health');
  const mine = findings.filter((finding) => finding.check === check);
  if (mine.length === 0) return t('zones.untold');
  const count = mine.filter(({ state }) => state !== 'ok').length;
  if (count === 0) return t('zones.fine');
  return (
    <Label isCompact variant="outline" status="warning">
      {t('zones.found', { count })}
    </Label>
  );
}
