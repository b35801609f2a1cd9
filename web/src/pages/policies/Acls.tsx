import { Label } from '@patternfly/react-core';
import { Table, Tbody, Td, Th, Thead, Tr } from '@patternfly/react-table';
import { useTranslation } from 'react-i18next';
import type { Owner, Schemas } from '../../api/client';
import { formatShare } from '../../parts/counts';
import { useUrl } from '../../state/url';
import { ruleKey } from './used';

/** What a policy was compiled to, and where zones differ. */
export function Acls({ known }: { known: Schemas['KnownPolicy'] }) {
  const { t } = useTranslation('policies');
  const [chosen] = useUrl('rule');
  const { acls, zones } = known;
  return (
    <section>
      <h3>{t('acls.title')}</h3>
      {acls.length === 0 ? (
        <p>{t('acls.none')}</p>
      ) : (
        <Table variant="compact" gridBreakPoint="grid-lg" aria-label={t('acls.title')}>
          <Thead>
            <Tr>
              <Th modifier="wrap">{t('column.rule')}</Th>
              <Th modifier="wrap">{t('acls.tier')}</Th>
              <Th modifier="wrap">{t('acls.priority')}</Th>
              <Th modifier="wrap">{t('acls.pipeline')}</Th>
              <Th modifier="wrap">{t('acls.action')}</Th>
              <Th modifier="wrap" width={40}>
                {t('acls.match')}
              </Th>
              <Th modifier="wrap">{t('acls.sampled')}</Th>
              <Th modifier="wrap">{t('acls.zones')}</Th>
            </Tr>
          </Thead>
          <Tbody>
            {acls.map((acl) => {
              const key = ruleKey(acl.owner as unknown as Owner);
              return (
                <Tr key={`${acl.id} ${acl.match} ${acl.pipeline}`} isRowSelected={key === chosen}>
                  <Td dataLabel={t('column.rule')}>{key.replace(':', ' ')}</Td>
                  <Td dataLabel={t('acls.tier')}>{acl.tier}</Td>
                  <Td dataLabel={t('acls.priority')}>{acl.priority}</Td>
                  <Td dataLabel={t('acls.pipeline')}>{acl.pipeline}</Td>
                  <Td dataLabel={t('acls.action')}>{acl.action}</Td>
                  <Td dataLabel={t('acls.match')}>
                    <code className="nv-match">{acl.match}</code>
                  </Td>
                  <Td dataLabel={t('acls.sampled')}>
                    {t('acls.shares', { new: formatShare(acl.sampled_new), est: formatShare(acl.sampled_est) })}
                  </Td>
                  <Td dataLabel={t('acls.zones')}>
                    {acl.zones.length === zones.length ? (
                      t('acls.all_zones', { count: zones.length })
                    ) : (
                      <Label isCompact color="yellow">
                        {t('acls.some_zones', { zones: acl.zones.join(', '), count: zones.length - acl.zones.length })}
                      </Label>
                    )}
                  </Td>
                </Tr>
              );
            })}
          </Tbody>
        </Table>
      )}
    </section>
  );
}
