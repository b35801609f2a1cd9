import { Alert, Button, Content, Flex, Label, type LabelProps } from '@patternfly/react-core';
import { PauseIcon, PlayIcon } from '@patternfly/react-icons';
import { useTranslation } from 'react-i18next';
import { formatCount } from '../../parts/counts';
import type { Live, LiveState } from './live';
import { useShown } from './useLive';

const COLORS: Record<LiveState, LabelProps['color']> = {
  live: 'green',
  paused: 'grey',
  connecting: 'blue',
  waiting: 'yellow',
  refused: 'red',
};

interface LiveBarProps {
  live: Live;
  paused: boolean;
  onPause: (paused: boolean) => void;
}

/** How the tail stands: what came, what was lost, what made room. */
export function LiveBar({ live, paused, onPause }: LiveBarProps) {
  const { state, told, rows } = useShown(live, (shown) => shown);
  const { t } = useTranslation('traffic');
  return (
    <>
      <Flex spaceItems={{ default: 'spaceItemsSm' }} alignItems={{ default: 'alignItemsCenter' }}>
        <Button
          variant="secondary"
          size="sm"
          icon={paused ? <PlayIcon /> : <PauseIcon />}
          onClick={() => onPause(!paused)}
        >
          {t(paused ? 'live.resume' : 'live.pause')}
        </Button>
        <Label color={COLORS[state]} data-testid="live-state" data-state={state}>
          {t(`live.state.${state}`)}
        </Label>
        <Content component="small">
          <Counter name="received" value={told.received} /> {t('live.received')} ·{' '}
          <Counter name="rows" value={rows.length} /> {t('live.rows')} · <Counter name="lost" value={told.lost} />{' '}
          {t('live.lost')}
          {told.left > 0 && (
            <>
              {' '}
              · <Counter name="left" value={told.left} /> {t('live.left', { bound: formatCount(live.bound) })}
            </>
          )}
        </Content>
      </Flex>
      {(told.lost > 0 || told.unknown) && (
        <Alert
          isInline
          variant="warning"
          title={told.unknown ? t('live.lossUnknown') : t('live.loss', { count: told.lost, n: formatCount(told.lost) })}
        >
          {t('live.lossHint')}
        </Alert>
      )}
    </>
  );
}

function Counter({ name, value }: { name: string; value: number }) {
  return (
    <b data-testid={`live-${name}`} data-count={value}>
      {formatCount(value)}
    </b>
  );
}
