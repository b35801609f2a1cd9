import { Alert, PageSection } from '@patternfly/react-core';
import { useEffect, useMemo, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { filterOf } from '../../parts/buckets';
import { QueryBar } from '../../parts/QueryBar';
import { PageHead } from '../../parts/PageHead';
import { Asked, Empty } from '../../parts/states';
import { useKeys } from '../../state/keys';
import { useTo, useUrl, useUrls } from '../../state/url';
import { useTopology } from './ask';
import { Find } from './Find';
import { found as findIn, groupsOf, LEVELS, MEASURES, step, trail, type Level, type Place, type View } from './graph';
import type { PictureHandle } from './Picture';
import { moveRow } from './rows';
import { Shown } from './Shown';
import { SHOWS, Tools } from './Tools';
import { Trail } from './Trail';
import './topology.css';

/** The server's limit of groups in one answer. */
const MOST_GROUPS = 5000;

export default function Topology() {
  const { t } = useTranslation('topology');
  const link = useTo();
  const change = useUrls();
  const [q, setQ] = useUrl('q');
  const [focus] = useUrl('focus');
  const [byText] = useUrl('by');
  const [groupText, setGroup] = useUrl('group');
  const [measureText, setMeasure] = useUrl('measure', 'connections');
  const [showText, setShow] = useUrl('show', 'both');
  const [find, setFind] = useUrl('find');
  const [open, setOpen] = useUrl('open');
  const [failed, setFailed] = useState('');
  const picture = useRef<PictureHandle>(null);
  const list = useRef<HTMLDivElement>(null);

  const by = one(LEVELS, byText, trail(focus).at(-1)?.by ?? 'namespace');
  const view = useMemo(() => ({ by, focus }), [by, focus]);
  const query = useTopology(q, view);
  const groups = groupsOf(query.data?.view.by ?? by);
  const group = one(groups, groupText, groups[1] ?? 'none');
  const measure = one(MEASURES, measureText, 'connections');
  const show = one(SHOWS, showText, 'both');
  const graph = query.data?.graph;
  const found = useMemo(() => (graph ? findIn([...graph.places.values()], find) : []), [graph, find]);

  const go = ({ by, focus }: View) =>
    change({ by: focus ? null : by, focus: focus || null, open: null, find: null }, true);
  const into = (place: Place) => {
    const next = step(place);
    if (next) go(next);
    else setOpen(place.id);
  };
  const close = () => setOpen('');
  const was = useRef('');
  useEffect(() => {
    // Back to the row that it was opened from.
    if (!open && was.current)
      list.current?.querySelector<HTMLElement>(`[data-open="${CSS.escape(was.current)}"]`)?.focus();
    was.current = open;
  }, [open]);
  const save = async () => {
    try {
      const blob = await picture.current?.png();
      if (blob) download(blob, `netverdict-topology-${focus.replace(/\W+/g, '-') || by}.png`);
      setFailed('');
    } catch (error) {
      setFailed(error instanceof Error ? error.message : String(error));
    }
  };
  const back = trail(focus).at(-2);
  useKeys({
    j: () => moveRow(list.current, 1),
    k: () => moveRow(list.current, -1),
    Escape: open ? close : focus && back ? () => go(back) : undefined,
  });
  return (
    <PageSection>
      <PageHead title={t('title')} />
      <div className="nv-topology-head">
        <QueryBar value={q} onChange={(q) => setQ(q, true)} error={query.error} />
        <Tools
          by={by}
          group={group}
          measure={measure}
          show={show}
          onBy={(by: Level) => go({ by, focus: '' })}
          onGroup={setGroup}
          onMeasure={setMeasure}
          onShow={setShow}
          onFit={() => picture.current?.fit()}
          onSave={() => void save()}
        >
          <Find value={find} onChange={setFind} found={found} onShow={({ id }) => picture.current?.center(id)} />
        </Tools>
        <Trail
          view={view}
          to={({ by, focus }) => link('/topology', { ...(q && { q }), ...(focus ? { focus } : { by }) })}
        />
      </div>
      {failed && <Alert component="p" isInline variant="danger" title={t('pngFailed', { why: failed })} />}
      <div ref={list}>
        <Asked query={query}>
          {({ graph, seconds, beyond, probability }) => (
            <>
              {beyond > 0 && (
                <Alert
                  component="p"
                  isInline
                  isPlain
                  variant="warning"
                  title={t('beyond', { count: beyond, most: MOST_GROUPS })}
                />
              )}
              {graph.edges.length === 0 ? (
                <Empty />
              ) : (
                <Shown
                  {...{ graph, seconds, show, group, measure, found, open, picture }}
                  filter={filterOf(q)}
                  onOpen={setOpen}
                  onStep={into}
                />
              )}
              {probability < 1 && <p>{t('sampled', { every: Math.round(1 / probability) })}</p>}
            </>
          )}
        </Asked>
      </div>
    </PageSection>
  );
}

/** A word of the address, if it is one of these. */
function one<T extends string>(all: readonly T[], text: string, otherwise: T): T {
  return all.find((word) => word === text) ?? otherwise;
}

function download(blob: Blob, name: string) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
