import { Drawer, DrawerContent, DrawerContentBody, Flex, FlexItem, PageSection, Title } from '@patternfly/react-core';
import { useCallback, useMemo, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { QueryBar } from '../../parts/QueryBar';
import { VerdictBars } from '../../parts/VerdictBars';
import { RangePicker } from '../../parts/RangePicker';
import { Empty, Failed, Loading } from '../../parts/states';
import { useKeys } from '../../state/keys';
import { useMedia } from '../../state/media';
import { useStored } from '../../state/stored';
import { useUrl } from '../../state/url';
import { DEFAULT, named } from './columns';
import { Chips } from './Chips';
import { Details } from './Details';
import { Grid } from './Grid';
import { keyOf, listed } from './rows';
import { isSize } from './sizes';
import { Summary } from './Summary';
import { QueryOptions, QuickFilters } from './Toolbar';
import './traffic.css';
import { useConnections } from './useConnections';
import { useFilters } from './useFilters';

export default function Traffic() {
  const { t } = useTranslation('traffic');
  const filters = useFilters();
  const [limit, setLimit] = useStored('traffic.limit', 100);
  const [stored] = useStored<readonly string[]>('traffic.columns', DEFAULT);
  const [size] = useStored<string>('traffic.size', 'normal');
  const [row, setRow] = useUrl('row');
  const narrow = useMedia('(max-width: 48rem)');
  const { asked, connections } = useConnections(filters.q, limit, true);
  const rows = useMemo(() => listed(connections), [connections]);
  const columns = useMemo(() => named(stored), [stored]);

  const [active, setActive] = useState('');
  const grab = useRef(false);
  const move = (by: number) => {
    const at = rows.indexOf(active || row);
    const next = Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + by));
    grab.current = true;
    setActive(keyOf(rows.at(next)));
  };
  useKeys({ j: () => move(1), k: () => move(-1), Escape: row ? () => setRow('') : undefined });
  const { fetchNextPage, isFetching } = asked;
  const onMore = useCallback(() => {
    if (!isFetching) void fetchNextPage();
  }, [isFetching, fetchNextPage]);

  const shown = row ? rows.at(rows.indexOf(row)) : undefined;
  const panel = row ? (
    <Details
      key={row}
      id={row}
      known={shown?.kind === 'connection' ? shown.connection : undefined}
      filters={filters}
      onClose={() => setRow('')}
    />
  ) : null;
  return (
    <Drawer isExpanded={row !== ''} isInline={!narrow} className="nv-traffic-drawer">
      <DrawerContent panelContent={panel}>
        <DrawerContentBody className="nv-traffic-body">
          <PageSection isFilled hasBodyWrapper={false} className="nv-traffic">
            <Flex justifyContent={{ default: 'justifyContentSpaceBetween' }}>
              <Title headingLevel="h1">{t('title')}</Title>
              <RangePicker />
            </Flex>
            <Flex spaceItems={{ default: 'spaceItemsSm' }} alignItems={{ default: 'alignItemsFlexStart' }}>
              <QueryOptions filters={filters} limit={limit} onLimit={setLimit} />
              <QuickFilters filters={filters} />
              <FlexItem flex={{ default: 'flex_1' }} className="nv-traffic-query">
                <QueryBar value={filters.q} onChange={filters.setQ} error={asked.error} />
              </FlexItem>
            </Flex>
            <Chips filters={filters} />
            <VerdictBars q={filters.q} />
            <Summary q={filters.q} loaded={rows.length} />
            {asked.error && rows.length === 0 ? (
              <Failed error={asked.error} again={() => void asked.refetch()} />
            ) : asked.isPending ? (
              <Loading />
            ) : rows.length === 0 ? (
              <Empty />
            ) : (
              <Grid
                rows={rows}
                columns={columns}
                size={isSize(size) ? size : 'normal'}
                more={asked.hasNextPage}
                onMore={onMore}
                active={active}
                onActive={setActive}
                chosen={row}
                onOpen={({ id }) => setRow(id, true)}
                grab={grab}
                live={false}
                narrow={narrow}
              />
            )}
          </PageSection>
        </DrawerContentBody>
      </DrawerContent>
    </Drawer>
  );
}
