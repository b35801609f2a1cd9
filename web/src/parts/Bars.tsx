import { Button, Flex, FlexItem } from '@patternfly/react-core';
import {
  AngleLeftIcon,
  AngleRightIcon,
  ChartBarIcon,
  SearchMinusIcon,
  SearchPlusIcon,
  TableIcon,
} from '@patternfly/react-icons';
import { useId, useRef, useState, type KeyboardEvent, type PointerEvent } from 'react';
import { useTranslation } from 'react-i18next';
import type { Range } from '../state/range';
import { BarsTable } from './BarsTable';
import { moved, range, sum, total, VERDICTS, type Bucket, type Counts } from './buckets';
import { Verdict, VERDICT_COLOR } from './Verdict';
import './bars.css';

interface Props {
  /** What the bars are, for those who do not see them. */
  label: string;
  buckets: Bucket[];
  /** How long a bucket is, in milliseconds. */
  every: number;
  /** The time that is shown, as it was asked for. */
  asked: Range;
  /** Called with the time that was chosen by pointer or keys. */
  onRange: (range: Range) => void;
}

/** Units of the picture's height. */
const HEIGHT = 100;
/** Height of the smallest part, so that one drop among thousands is seen. */
const LEAST = 3;

/**
 * Connections over time, stacked by verdict. A time is chosen by dragging, or by arrow keys with Shift and
 * Enter. The same as a table is one button away.
 */
export function Bars({ label, buckets, every, asked, onRange }: Props) {
  const { t } = useTranslation();
  const hint = useId();
  const [asTable, setAsTable] = useState(false);
  const [at, setAt] = useState<number>();
  const [anchor, setAnchor] = useState<number>();
  const dragging = useRef(false);
  const last = buckets.length - 1;
  const cursor = at === undefined ? undefined : Math.min(at, last);
  const from = Math.min(cursor ?? 0, anchor ?? cursor ?? 0);
  const to = Math.min(Math.max(cursor ?? 0, anchor ?? cursor ?? 0), last);
  const highest = Math.max(1, ...buckets.map(({ counts }) => total(counts)));
  const whole = sum(buckets.map(({ counts }) => counts));

  const clear = () => {
    setAnchor(undefined);
    setAt(undefined);
  };
  const choose = (range: Range) => {
    clear();
    onRange(range);
  };
  const zoom = (from: number, to: number) => {
    const [first, end] = [buckets[from], buckets[to]];
    if (first && end) choose(range(first.at, end.at + every));
  };
  const move = (by: -1 | 0 | 1) => choose(moved(asked, by, Date.now()));

  const key = (event: KeyboardEvent) => {
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, Home: -buckets.length, End: buckets.length };
    const step = steps[event.key];
    if (step !== undefined) {
      setAnchor(event.shiftKey ? (anchor ?? cursor ?? last) : undefined);
      setAt(Math.max(0, Math.min(last, (cursor ?? last) + (cursor === undefined && step < 0 ? 0 : step))));
    } else if (event.key === 'Enter' && cursor !== undefined) zoom(from, to);
    else if (event.key === 'Escape' && cursor !== undefined) clear();
    else if (event.key === 'PageUp') move(-1);
    else if (event.key === 'PageDown') move(1);
    else if (event.key === '-') move(0);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const under = (event: PointerEvent) => {
    const box = event.currentTarget.getBoundingClientRect();
    const index = Math.floor(((event.clientX - box.left) / Math.max(1, box.width)) * buckets.length);
    return Math.max(0, Math.min(last, index));
  };
  const down = (event: PointerEvent) => {
    if (event.button !== 0) return;
    event.currentTarget.setPointerCapture?.(event.pointerId);
    dragging.current = true;
    setAnchor(under(event));
    setAt(under(event));
  };
  const up = (event: PointerEvent) => {
    if (!dragging.current) return;
    dragging.current = false;
    const end = under(event);
    if (anchor !== undefined && end !== anchor) zoom(Math.min(anchor, end), Math.max(anchor, end));
    else setAnchor(undefined);
  };
  const stop = () => {
    dragging.current = false;
    clear();
  };

  const told = (from: number, to: number) => {
    const [first, end] = [buckets[from], buckets[to]];
    if (!first || !end) return '';
    const counts = sum(buckets.slice(from, to + 1).map(({ counts }) => counts));
    return t('bars.at', { time: span(first.at, end.at + every), counts: words(counts, t) });
  };

  return (
    <div className="nv-bars">
      <Flex
        justifyContent={{ default: 'justifyContentSpaceBetween' }}
        alignItems={{ default: 'alignItemsCenter' }}
        spaceItems={{ default: 'spaceItemsSm' }}
        rowGap={{ default: 'rowGapXs' }}
      >
        <Flex spaceItems={{ default: 'spaceItemsSm' }} rowGap={{ default: 'rowGapXs' }}>
          {VERDICTS.filter((verdict) => whole[verdict] > 0).map((verdict) => (
            <FlexItem key={verdict} className="nv-bars-key">
              <Verdict verdict={verdict} /> {whole[verdict].toLocaleString()}
            </FlexItem>
          ))}
          {total(whole) === 0 && <FlexItem>{t('bars.none')}</FlexItem>}
        </Flex>
        <Flex spaceItems={{ default: 'spaceItemsNone' }} flexWrap={{ default: 'nowrap' }}>
          <Tool label={t('bars.earlier')} icon={<AngleLeftIcon />} onClick={() => move(-1)} />
          <Tool label={t('bars.later')} icon={<AngleRightIcon />} onClick={() => move(1)} />
          <Tool label={t('bars.wider')} icon={<SearchMinusIcon />} onClick={() => move(0)} />
          <Tool
            label={t('bars.narrower')}
            icon={<SearchPlusIcon />}
            isDisabled={cursor === undefined}
            onClick={() => zoom(from, to)}
          />
          <Tool
            label={t(asTable ? 'bars.picture' : 'bars.table')}
            icon={asTable ? <ChartBarIcon /> : <TableIcon />}
            onClick={() => setAsTable(!asTable)}
          />
        </Flex>
      </Flex>
      {asTable ? (
        <BarsTable label={label} buckets={buckets} />
      ) : (
        <>
          <div
            className="nv-bars-plot"
            role="slider"
            tabIndex={0}
            aria-label={label}
            aria-describedby={hint}
            aria-valuemin={0}
            aria-valuemax={last}
            aria-valuenow={cursor ?? last}
            aria-valuetext={told(cursor === undefined ? 0 : from, cursor === undefined ? last : to)}
            onKeyDown={key}
            onPointerDown={down}
            onPointerMove={(event) => (dragging.current || event.pointerType === 'mouse') && setAt(under(event))}
            onPointerUp={up}
            onPointerCancel={stop}
            onPointerLeave={() => !dragging.current && anchor === undefined && setAt(undefined)}
          >
            <svg viewBox={`0 0 ${buckets.length} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden>
              {buckets.map(({ at, counts }, index) => (
                <g key={at}>
                  {stack(counts, highest).map(({ verdict, y, height }) => (
                    <rect
                      key={verdict}
                      x={index + 0.06}
                      width={0.88}
                      y={y}
                      height={height}
                      fill={VERDICT_COLOR[verdict]}
                    />
                  ))}
                </g>
              ))}
              {cursor !== undefined && (
                <rect className="nv-bars-chosen" x={from} width={to - from + 1} y={0} height={HEIGHT} />
              )}
            </svg>
          </div>
          <div className="nv-bars-axis" aria-hidden>
            <span>{clock(buckets[0]?.at ?? 0)}</span>
            <span className="nv-bars-told">
              {cursor === undefined ? t('bars.most', { count: highest, every: length(every) }) : told(from, to)}
            </span>
            <span>{clock((buckets[last]?.at ?? 0) + every)}</span>
          </div>
          <span id={hint} hidden>
            {t('bars.hint')}
          </span>
        </>
      )}
    </div>
  );
}

function Tool(props: { label: string; icon: React.ReactNode; onClick: () => void; isDisabled?: boolean }) {
  const { label, ...rest } = props;
  return <Button variant="plain" size="sm" aria-label={label} title={label} {...rest} />;
}

/** The parts of a bar from the ground up, in units of the picture. */
function stack(counts: Counts, highest: number) {
  let y = HEIGHT;
  return VERDICTS.filter((verdict) => counts[verdict] > 0).map((verdict) => {
    const height = Math.min(y, Math.max(LEAST, (counts[verdict] / highest) * HEIGHT));
    y -= height;
    return { verdict, y, height };
  });
}

function words(counts: Counts, t: ReturnType<typeof useTranslation>['t']): string {
  const all = VERDICTS.filter((verdict) => counts[verdict] > 0).map((verdict) =>
    t('bars.count', { count: counts[verdict], verdict: t(`verdict.${verdict}`) }),
  );
  return all.join(', ') || t('bars.none');
}

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
});
const DAY = new Intl.DateTimeFormat(undefined, {
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  hour12: false,
});

/** A time in the reader's zone, with the day where it is not today. */
function clock(at: number): string {
  const date = new Date(at);
  return (date.toDateString() === new Date().toDateString() ? CLOCK : DAY).format(date);
}

function span(from: number, to: number): string {
  return `${clock(from)} – ${clock(to)}`;
}

/** A length of time as queries have it, such as `30s`. */
export function length(milliseconds: number): string {
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const;
  const [unit, size] = units.find(([, size]) => milliseconds % size === 0) ?? (['ms', 1] as const);
  return `${milliseconds / size}${unit}`;
}
