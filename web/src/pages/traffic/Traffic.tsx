import {
  Button,
  Content,
  Drawer,
  DrawerContent,
  DrawerContentBody,
  Flex,
  FlexItem,
  PageSection,
  Switch,
  Title,
} from '@patternfly/react-core';
import { ArrowUpIcon } from '@patternfly/react-icons';
import { useCallback, useMemo, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { QueryBar } from '../../parts/QueryBar';
import { RangePicker } from '../../parts/RangePicker';
import { Empty, Failed, Loading } from '../../parts/states';
import { VerdictBars } from '../../parts/VerdictBars';
import { useKeys } from '../../state/keys';
import { useMedia } from '../../state/media';
import { useUrl, useUrls } from '../../state/url';
import { Chips } from './Chips';
import { Details } from './Details';
import { DisplayOptions } from './DisplayOptions';
import { ExportMenu } from './ExportMenu';
import { Grid, type GridProps } from './Grid';
import type { Live } from './live';
import { LiveBar } from './LiveBar';
import { keyOf, listed } from './rows';
import { SavedViews } from './SavedViews';
import { Summary } from './Summary';
import { QueryOptions, QuickFilters } from './Toolbar';
import './traffic.css';
import { useConnections } from './useConnections';
import { useDisplay } from './useDisplay';
import { useFilters } from './useFilters';
import { useLive, useShown } from './useLive';

/** Connections: asked for, or as they come. */
export default function Traffic() {
  const { t } = useTranslation('traffic');
  const filters = useFilters();
  const display = useDisplay();
  const [row, setRow] = useUrl('row');
  const change = useUrls();
  const [tailing, setTailing] = useUrl('live');
  const [paused, setPaused] = useState(false);
  const [away, setAway] = useState(false);
  const narrow = useMedia('(max-width: 48rem)');
  const isLive = tailing === 'on';

  const { asked, connections } = useConnections(filters.q, display.limit, !isLive);
  const live = useLive(filters.q, isLive, paused);
  const list = useMemo(() => listed(connections), [connections]);
  const refused = useShown(live, (shown) => shown.error);
  const empty = useShown(live, (shown) => shown.rows.length === 0);
  const error = isLive ? refused : asked.error;
  const isEmpty = isLive ? empty : list.length === 0;
  // Those of the tail change faster than the page is drawn.
  const rows = () => (isLive ? live.snapshot().rows : list);

  const [active, setActive] = useState('');
  const grab = useRef(false);
  const go = (to: number) => {
    grab.current = true;
    setActive(keyOf(rows().at(Math.min(rows().length - 1, Math.max(0, to)))));
  };
  const move = (by: number) => {
    const at = rows().indexOf(active || row);
    go(at < 0 ? 0 : at + by);
  };
  const close = useCallback(() => {
    change({ row: null, tab: null });
    grab.current = true;
    setActive(row);
  }, [row, change]);
  useKeys({ j: () => move(1), k: () => move(-1), Escape: row ? close : undefined });
  const { fetchNextPage, isFetching } = asked;
  const onMore = useCallback(() => {
    if (!isFetching) void fetchNextPage();
  }, [isFetching, fetchNextPage]);

  const shown = row ? rows().at(rows().indexOf(row)) : undefined;
  const known = shown?.kind === 'connection' ? shown.connection : undefined;
  const panel = row ? <Details key={row} id={row} known={known} filters={filters} onClose={close} /> : null;
  const grid: Omit<GridProps, 'rows'> = {
    columns: display.columns,
    size: display.size,
    more: !isLive && asked.hasNextPage,
    onMore,
    active,
    onActive: setActive,
    chosen: row,
    onOpen: ({ id }) => setRow(id, true),
    grab,
    live: isLive,
    narrow,
    onAway: setAway,
  };
  return (
    <Drawer isExpanded={row !== ''} isInline={!narrow} className="nv-traffic-drawer">
      <DrawerContent panelContent={panel}>
        <DrawerContentBody className="nv-traffic-body">
          <PageSection isFilled hasBodyWrapper={false} className="nv-traffic">
            <Flex
              justifyContent={{ default: 'justifyContentSpaceBetween' }}
              alignItems={{ default: 'alignItemsCenter' }}
            >
              <Title headingLevel="h1">{t('title')}</Title>
              <Flex alignItems={{ default: 'alignItemsCenter' }}>
                <Switch
                  id="live"
                  label={t('live.on')}
                  isChecked={isLive}
                  onChange={(_, on) => {
                    setPaused(false);
                    setTailing(on ? 'on' : '', true);
                  }}
                />
                {!isLive && <RangePicker />}
              </Flex>
            </Flex>
            <Flex spaceItems={{ default: 'spaceItemsSm' }} alignItems={{ default: 'alignItemsFlexStart' }}>
              <QueryOptions filters={filters} limit={display.limit} onLimit={display.setLimit} />
              <QuickFilters filters={filters} />
              <FlexItem flex={{ default: 'flex_1' }} className="nv-traffic-query">
                <QueryBar value={filters.q} onChange={filters.setQ} error={error} />
              </FlexItem>
            </Flex>
            <Chips filters={filters} />
            {isLive ? (
              <LiveBar live={live} paused={paused} onPause={setPaused} />
            ) : (
              display.histogram && !error && <VerdictBars q={filters.q} />
            )}
            <Flex
              justifyContent={{ default: 'justifyContentSpaceBetween' }}
              alignItems={{ default: 'alignItemsCenter' }}
            >
              {isLive ? <span /> : <Summary q={filters.q} loaded={list.length} />}
              <Flex spaceItems={{ default: 'spaceItemsSm' }}>
                {isLive && away && (
                  <Button variant="secondary" size="sm" icon={<ArrowUpIcon />} onClick={() => go(0)}>
                    {t('live.newest')}
                  </Button>
                )}
                <DisplayOptions display={display} />
                <SavedViews />
                <ExportMenu q={filters.q} />
              </Flex>
            </Flex>
            {asked.isFetchingNextPage && (
              <Content component="small" role="status">
                {t('more')}
              </Content>
            )}
            {error && isEmpty ? (
              <Failed error={error} again={() => void asked.refetch()} />
            ) : isEmpty ? (
              isLive ? (
                <Empty title={t('live.empty')}>{t('live.emptyHint')}</Empty>
              ) : asked.isPending ? (
                <Loading />
              ) : (
                <Empty />
              )
            ) : isLive ? (
              <LiveGrid tail={live} {...grid} />
            ) : (
              <Grid rows={list} {...grid} />
            )}
          </PageSection>
        </DrawerContentBody>
      </DrawerContent>
    </Drawer>
  );
}

/** The rows of a tail, which are drawn by themselves: all around them stays. */
function LiveGrid({ tail, ...props }: Omit<GridProps, 'rows'> & { tail: Live }) {
  return <Grid rows={useShown(tail, (shown) => shown.rows)} {...props} />;
}
