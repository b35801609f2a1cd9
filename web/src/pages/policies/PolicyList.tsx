import { Alert, Checkbox, Flex, FlexItem, SearchInput } from '@patternfly/react-core';
import { Table, Tbody, Td, Th, Thead, Tr, type ThProps } from '@patternfly/react-table';
import { useRef } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router-dom';
import { formatCount } from '../../parts/counts';
import { Empty } from '../../parts/states';
import { Time } from '../../parts/Time';
import { useKeys } from '../../state/keys';
import { useTo, useUrl } from '../../state/url';
import { Kind } from './Kind';
import { isUnused, listed, ORDERS, type Order, type Policy } from './used';

/** All policies with how often they decided. */
export function PolicyList({ all, more }: { all: Policy[]; more: number }) {
  const { t } = useTranslation('policies');
  const to = useTo();
  const [find, setFind] = useUrl('find');
  const [unused, setUnused] = useUrl('unused');
  const [order, setOrder] = useUrl('order', 'name');
  const body = useRef<HTMLTableSectionElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const by: Order = ORDERS.find((known) => known === order) ?? 'name';
  const shown = listed(all, find, unused === '1', by);
  const move = (step: number) => {
    const links = [...(body.current?.querySelectorAll('a') ?? [])];
    const at = links.findIndex((link) => link === document.activeElement);
    links[Math.max(0, Math.min(links.length - 1, at < 0 ? 0 : at + step))]?.focus();
  };
  useKeys({ '/': () => input.current?.focus(), j: () => move(1), k: () => move(-1) });
  const sort = (column: Order): ThProps['sort'] => ({
    sortBy: { index: ORDERS.indexOf(by), direction: by === 'name' ? 'asc' : 'desc' },
    columnIndex: ORDERS.indexOf(column),
    onSort: () => setOrder(column),
  });
  return (
    <>
      <Flex className="nv-policies-bar">
        <FlexItem flex={{ default: 'flex_1' }}>
          <SearchInput
            ref={input}
            aria-label={t('find')}
            placeholder={t('find')}
            value={find}
            onChange={(_, value) => setFind(value)}
            onClear={() => setFind('')}
          />
        </FlexItem>
        <Checkbox
          id="unused"
          label={t('only_unused')}
          isChecked={unused === '1'}
          onChange={(_, on) => setUnused(on ? '1' : '')}
        />
      </Flex>
      {more > 0 && <Alert isInline variant="warning" title={t('more', { count: more })} />}
      {shown.length === 0 ? (
        <Empty title={t('none.title')}>{t('none.hint')}</Empty>
      ) : (
        <Table variant="compact" gridBreakPoint="grid-md" aria-label={t('title')}>
          <Thead>
            <Tr>
              <Th modifier="wrap" sort={sort('name')}>
                {t('column.policy')}
              </Th>
              <Th modifier="wrap">{t('column.rules')}</Th>
              <Th modifier="wrap" sort={sort('connections')}>
                {t('column.connections')}
              </Th>
              <Th modifier="wrap" sort={sort('dropped')}>
                {t('column.dropped')}
              </Th>
              <Th modifier="wrap" sort={sort('last')}>
                {t('column.last')}
              </Th>
            </Tr>
          </Thead>
          <Tbody ref={body}>
            {shown.map((policy) => (
              <Tr key={policy.ref}>
                <Td dataLabel={t('column.policy')}>
                  <Link to={to('/policies', { policy: policy.ref })}>
                    <Kind policy={policy.ref} />
                  </Link>
                </Td>
                <Td dataLabel={t('column.rules')}>
                  <Unused policy={policy} />
                </Td>
                <Td dataLabel={t('column.connections')}>{formatCount(policy.connections)}</Td>
                <Td dataLabel={t('column.dropped')}>
                  {t('packets', { count: policy.dropped, n: formatCount(policy.dropped) })}
                </Td>
                <Td dataLabel={t('column.last')}>{policy.last ? <Time at={policy.last} /> : t('never')}</Td>
              </Tr>
            ))}
          </Tbody>
        </Table>
      )}
      <p className="nv-subtle-text">{t('sampling')}</p>
    </>
  );
}

function Unused({ policy }: { policy: Policy }) {
  const { t } = useTranslation('policies');
  const { rules, inForce, sampled } = policy;
  const unused = rules.filter(isUnused).length;
  if (!inForce) return <>{t('gone')}</>;
  return (
    <>
      {t('rules', { count: rules.length })}
      {unused > 0 && <span className="nv-subtle-text">, {t(sampled ? 'unused' : 'unseen', { count: unused })}</span>}
    </>
  );
}
