import cytoscape from 'cytoscape';
import { forwardRef, useEffect, useImperativeHandle, useMemo, useRef, useState, type KeyboardEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { Loading } from '../../parts/states';
import { groupOf, isDenied, type Edge, type Group, type Place } from './graph';
import { arrange, type Places } from './layout';
import { style, useLook } from './look';

export interface PictureHandle {
  fit: () => void;
  /** Brings a place to the middle. */
  center: (id: string) => void;
  png: () => Promise<Blob>;
}

interface Props {
  /** What it shows, for those who do not see it. */
  label: string;
  places: Place[];
  edges: Edge[];
  group: Group;
  nameOf: (place: Place) => string;
  textOf: (edge: Edge) => string;
  /** How thick an edge is, by this. */
  weightOf: (edge: Edge) => number;
  /** A place, or `FROM>TO`. */
  chosen: string;
  found: Set<string>;
  onChoose: (id: string) => void;
  onStep: (place: Place) => void;
}

/** Places up to which they move to where they belong instead of being there at once. */
const MOVING = 150;
/** Edges above which the picture is a still one while it is moved. */
const MANY = 800;
/** Pairs that say where places go; the heaviest suffice. */
const PULLING = 1200;
/** So many milliseconds after the last key a picture that was moved by keys is drawn anew. */
const STILL = 150;
const GROUP = 'group:';

/** The graph on a canvas. All it shows and does is in the list beside it as well. */
export const Picture = forwardRef<PictureHandle, Props>(function Picture(props, handle) {
  const { label, places, edges, group, nameOf, textOf, weightOf, chosen, found, onChoose, onStep } = props;
  const { t } = useTranslation('topology');
  const box = useRef<HTMLDivElement>(null);
  const graph = useRef<cytoscape.Core>(undefined);
  const look = useLook();
  const [isArranging, setArranging] = useState(true);
  const isMany = edges.length > MANY;
  const elements = useMemo(
    () => made(places, edges, group, nameOf, textOf, weightOf),
    [places, edges, group, nameOf, textOf, weightOf],
  );
  const calls = useRef({ onChoose, onStep, places });
  useEffect(() => {
    calls.current = { onChoose, onStep, places };
  });

  useEffect(() => {
    if (!box.current) return;
    const cy = cytoscape({
      container: box.current,
      minZoom: 0.05,
      maxZoom: 4,
      boxSelectionEnabled: false,
      textureOnViewport: isMany,
      hideLabelsOnViewport: isMany,
      ...(isMany && { pixelRatio: 1 }),
    });
    graph.current = cy;
    cy.on('tap', 'edge', ({ target }) => calls.current.onChoose(`${target.data('source')}>${target.data('target')}`));
    cy.on('tap', 'node:childless', ({ target }) => calls.current.onChoose(target.id()));
    cy.on('tap', ({ target }) => target === cy && calls.current.onChoose(''));
    cy.on('dbltap', 'node:childless', ({ target }) => {
      const place = calls.current.places.find(({ id }) => id === target.id());
      if (place) calls.current.onStep(place);
    });
    const resized = new ResizeObserver(() => cy.resize());
    resized.observe(box.current);
    return () => {
      resized.disconnect();
      cy.destroy();
    };
  }, [isMany]);

  useEffect(() => {
    graph.current?.style(style(look, edges.length));
  }, [look, edges.length, isMany]);

  useEffect(() => {
    const cy = graph.current;
    if (!cy) return;
    const known = positions(cy);
    const isSame = sync(cy, elements);
    if (isSame) return;
    const stop = new AbortController();
    const kept = Object.fromEntries(Object.entries(known).filter(([id]) => cy.getElementById(id).nonempty()));
    const isNew = Object.keys(kept).length < elements.nodes.length / 2;
    cy.elements().style('visibility', isNew ? 'hidden' : 'visible');
    setArranging(true);
    const plan = { nodes: elements.nodes.map(({ data }) => data), pairs: elements.pairs, known: isNew ? {} : kept };
    void arrange(plan, stop.signal).then((places) => {
      if (stop.signal.aborted) return;
      place(cy, places, !isNew && elements.nodes.length <= MOVING);
      cy.elements().style('visibility', 'visible');
      if (isNew) cy.fit(undefined, 30);
      setArranging(false);
    });
    return () => stop.abort();
  }, [elements, isMany]);

  useEffect(() => {
    const cy = graph.current;
    if (!cy) return;
    cy.batch(() => {
      cy.elements().removeClass('chosen found faded');
      const [from, to] = chosen.split('>');
      const edges = cy.edges().filter((edge) => edge.data('source') === from && edge.data('target') === to);
      (to === undefined ? cy.getElementById(chosen) : edges).addClass('chosen');
      if (found.size === 0) return;
      const those = cy.nodes().filter((node) => found.has(node.id()));
      those.addClass('found');
      cy.elements()
        .difference(those.union(those.connectedEdges()).union(those.neighborhood()).union(those.parents()))
        .addClass('faded');
    });
  }, [chosen, found, elements, isMany]);

  useImperativeHandle(
    handle,
    () => ({
      fit: () => graph.current?.fit(undefined, 30),
      center: (id) => {
        const cy = graph.current;
        if (cy) cy.animate({ center: { eles: cy.getElementById(id) }, duration: isCalm() ? 0 : 250 });
      },
      png: async () => {
        if (!graph.current) throw new Error('there is no picture yet');
        return graph.current.png({
          output: 'blob-promise',
          full: true,
          scale: 2,
          maxWidth: 8000,
          maxHeight: 8000,
          bg: look.page,
        });
      },
    }),
    [look],
  );

  // A picture with many edges takes a while to be drawn: while keys come, it is moved as it is.
  const slid = useRef<{ x: number; y: number; timer?: ReturnType<typeof setTimeout> }>({ x: 0, y: 0 });
  useEffect(() => () => clearTimeout(slid.current.timer), []);
  const slide = (x: number, y: number) => {
    const by = { x: slid.current.x + x, y: slid.current.y + y };
    const show = (transform: string) => box.current?.style.setProperty('transform', transform);
    show(`translate(${by.x}px, ${by.y}px)`);
    clearTimeout(slid.current.timer);
    const timer = setTimeout(() => {
      slid.current = { x: 0, y: 0 };
      show('none');
      graph.current?.panBy(by);
    }, STILL);
    slid.current = { ...by, timer };
  };
  const key = (event: KeyboardEvent) => {
    const cy = graph.current;
    if (!cy || event.ctrlKey || event.metaKey || event.altKey) return;
    const pan: Record<string, [number, number]> = {
      ArrowLeft: [60, 0],
      ArrowRight: [-60, 0],
      ArrowUp: [0, 60],
      ArrowDown: [0, -60],
    };
    const by = pan[event.key];
    const zoom = { '+': 1.25, '-': 0.8 }[event.key];
    if (by && isMany) slide(by[0], by[1]);
    else if (by) cy.panBy({ x: by[0], y: by[1] });
    else if (zoom) cy.zoom({ level: cy.zoom() * zoom, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } });
    else if (event.key === '0') cy.fit(undefined, 30);
    else return;
    event.preventDefault();
  };

  return (
    <div className="nv-picture" role="group" aria-label={label} tabIndex={0} onKeyDown={key} title={t('picture.hint')}>
      <div ref={box} className="nv-picture-canvas" aria-hidden />
      {isArranging && (
        <div className="nv-picture-wait">
          <Loading />
        </div>
      )}
    </div>
  );
});

interface Elements {
  nodes: { data: { id: string; parent?: string; size: number; label: string }; classes: string }[];
  edges: { data: { id: string; source: string; target: string; width: number; label: string }; classes: string }[];
  pairs: { from: string; to: string }[];
}

function made(
  places: Place[],
  edges: Edge[],
  group: Group,
  nameOf: (place: Place) => string,
  textOf: (edge: Edge) => string,
  weightOf: (edge: Edge) => number,
): Elements {
  const groups = new Set(places.map((place) => groupOf(place, group)).filter(Boolean));
  const heaviest = Math.log1p(Math.max(1, ...edges.map(weightOf)));
  const busiest = Math.log1p(Math.max(1, ...places.map(({ connections }) => connections)));
  const leaf = (place: Place) => {
    const of = groupOf(place, group);
    const size = Math.round(22 + 26 * (Math.log1p(place.connections) / busiest));
    const data = { id: place.id, size, label: nameOf(place), ...(of && { parent: GROUP + of }) };
    const kind =
      place.level === 'namespace' && place.namespace
        ? 'namespace'
        : place.level === 'node' && place.name
          ? 'node'
          : place.kind;
    const known = ['namespace', 'pod', 'node'].includes(kind) ? kind : 'other';
    return { data, classes: place.denied ? `${known} denied` : known };
  };
  const pairs = new Map(edges.map(({ from, to }) => [`${from}>${to}`, { from, to }]));
  return {
    nodes: [
      ...[...groups].map((name) => ({ data: { id: GROUP + name, size: 40, label: name }, classes: '' })),
      ...places.map(leaf),
    ],
    edges: edges.map((edge) => ({
      data: {
        id: edge.id,
        source: edge.from,
        target: edge.to,
        width: 1 + Math.round(8 * 5 * (Math.log1p(weightOf(edge)) / heaviest)) / 8,
        label: textOf(edge),
      },
      classes: isDenied(edge.verdict) ? `${edge.verdict} denied` : edge.verdict,
    })),
    pairs: [...pairs.values()].slice(0, PULLING),
  };
}

/** Makes the picture have these elements; true where places and groups are the same as before. */
function sync(cy: cytoscape.Core, { nodes, edges }: Elements): boolean {
  const wanted = new Map([...nodes, ...edges].map((element) => [element.data.id, element]));
  let isSame = true;
  cy.batch(() => {
    // Parents first would take their children along.
    const gone = cy.elements().filter((element) => !wanted.has(element.id()));
    if (gone.nodes().nonempty()) isSame = false;
    gone.nodes().children().move({ parent: null });
    gone.remove();
    for (const element of wanted.values()) {
      const known = cy.getElementById(element.data.id);
      if (known.empty()) {
        if (!('source' in element.data)) isSame = false;
        cy.add(element);
        continue;
      }
      const parent = 'parent' in element.data ? (element.data.parent ?? null) : null;
      if (known.isNode() && (known.parent().first().id() ?? null) !== parent) {
        known.move({ parent });
        isSame = false;
      }
      cy.getElementById(element.data.id).data(element.data).classes(element.classes);
    }
  });
  return isSame;
}

function positions(cy: cytoscape.Core): Places {
  const places: Places = {};
  cy.nodes(':childless').forEach((node) => {
    places[node.id()] = { ...node.position() };
  });
  return places;
}

function place(cy: cytoscape.Core, places: Places, isMoving: boolean) {
  const options = {
    name: 'preset',
    positions: places,
    fit: false,
    animate: isMoving && !isCalm(),
    animationDuration: 300,
  };
  cy.layout(options as unknown as cytoscape.LayoutOptions).run();
}

function isCalm(): boolean {
  return matchMedia('(prefers-reduced-motion: reduce)').matches;
}
