import type { Schemas, Verdict } from '../../api/client';
import { and, quoted } from '../../parts/clauses';

/** What a place of the picture stands for. */
export const LEVELS = ['namespace', 'workload', 'pod', 'node'] as const;
export type Level = (typeof LEVELS)[number];
export const GROUPS = ['none', 'namespace', 'workload', 'node'] as const;
export type Group = (typeof GROUPS)[number];
export const MEASURES = ['connections', 'packets', 'bytes', 'dropped'] as const;
export type Measure = (typeof MEASURES)[number];

/** What the picture shows: places of one level, of the whole cluster or of what was stepped into. */
export interface View {
  by: Level;
  /** Empty, `NAMESPACE`, `NAMESPACE/WORKLOAD` or `node:NAME`. */
  focus: string;
}

/** One end of what the server told. */
interface End {
  namespace: string | null;
  kind: string | null;
  name: string | null;
  node: string | null;
}

/** A place: a namespace, workload, pod or node, or what is none of these, such as the world outside. */
export interface Place {
  id: string;
  level: Level;
  /** As `src.kind` in queries; empty for an address that nothing is known of. */
  kind: string;
  namespace: string;
  /** Empty for namespaces, and for kinds without names. */
  name: string;
  /** The node of a pod. */
  node: string;
  /** The names of pods in a workload. */
  members: string[];
  connections: number;
  denied: number;
}

/** Connections of one verdict from one place to another. */
export interface Edge {
  id: string;
  from: string;
  to: string;
  verdict: Verdict;
  connections: number;
  packets: number;
  bytes: number;
  /** Packets. */
  dropped: number;
  last: string;
}

export interface Graph {
  places: Map<string, Place>;
  /** Denied ones first, then those with most connections. */
  edges: Edge[];
}

const DENIED: Verdict[] = ['dropped', 'rejected'];

export function isDenied(verdict: Verdict): boolean {
  return DENIED.includes(verdict);
}

/** The fields that tell places of a view apart. */
export function fields({ by, focus }: View): string[] {
  const names = by === 'workload' || by === 'pod' || focus !== '';
  const each = ['namespace', 'kind', ...(names ? ['name'] : []), ...(by === 'node' || by === 'pod' ? ['node'] : [])];
  return ['src', 'dst'].flatMap((side) => each.map((field) => `${side}.${field}`));
}

/** What narrows a question to what was stepped into; the browser takes away the rest, such as `web-api-0` for `web`. */
export function focusClause(focus: string): string {
  const { node, namespace, workload } = focused(focus);
  if (node) return `(src.node=${quoted(node)} or dst.node=${quoted(node)})`;
  if (!namespace) return '';
  const side = (side: string) =>
    and(`${side}.namespace=${quoted(namespace)}`, workload && `${side}.name~${quoted(`${escaped(workload)}*`)}`);
  return `(${side('src')} or ${side('dst')})`;
}

function escaped(name: string): string {
  return name.replace(/[\\*?]/g, '\\$&');
}

export function focused(focus: string): { node?: string; namespace?: string; workload?: string } {
  if (focus.startsWith('node:')) return { node: focus.slice('node:'.length) };
  const [namespace, workload] = focus.split('/', 2);
  return { ...(namespace && { namespace }), ...(workload && { workload }) };
}

/**
 * The workload that a pod belongs to, by the names that Kubernetes gives: `web-7d9cbb6c5f-x2x4v`, `web-x2x4v`,
 * `web-0` and `web-28391234-x2x4v` are of `web`. Random parts have no vowels, so that `kube-proxy` is whole.
 */
export function workloadOf(pod: string): string {
  const ordinal = /^(.+)-\d{1,5}$/.exec(pod);
  if (ordinal?.[1]) return ordinal[1];
  const random = /^(.+)-[bcdfghjklmnpqrstvwxz2456789]{5}$/.exec(pod);
  if (!random?.[1]) return pod;
  const replicas = /^(.+)-(?:[bcdfghjklmnpqrstvwxz2456789]{6,10}|[0-9a-f]{8,10}|\d{8,})$/.exec(random[1]);
  return replicas?.[1] ?? random[1];
}

/** What the server told, as places and edges. Ends outside of what was stepped into stand one level higher. */
export function graph(answers: Schemas['Aggregates'][], view: View): Graph {
  const places = new Map<string, Place>();
  const edges = new Map<string, Edge>();
  for (const { columns, lines } of answers) {
    const at = new Map(columns.map((column, index) => [column, index]));
    for (const line of lines as unknown[][]) {
      const text = (column: string) => (line[at.get(column) ?? -1] as string | null | undefined) ?? null;
      const number = (column: string) => Number(line[at.get(column) ?? -1] ?? 0);
      const [src, dst] = (['src', 'dst'] as const).map((side) => {
        const field = (name: string) => text(`${side}.${name}`);
        return { namespace: field('namespace'), kind: field('kind'), name: field('name'), node: field('node') };
      }) as [End, End];
      if (view.focus && !isWithin(src, view.focus) && !isWithin(dst, view.focus)) continue;
      const verdict = (text('verdict') ?? 'unknown') as Verdict;
      const [from, to] = [src, dst].map((end) => keep(places, end, view)) as [Place, Place];
      const connections = number('count');
      for (const place of new Set([from, to])) {
        place.connections += connections;
        if (isDenied(verdict)) place.denied += connections;
      }
      const id = `${from.id}>${to.id}>${verdict}`;
      const edge = edges.get(id) ?? {
        id,
        from: from.id,
        to: to.id,
        verdict,
        connections: 0,
        packets: 0,
        bytes: 0,
        dropped: 0,
        last: '',
      };
      edge.connections += connections;
      edge.packets += number('sum(packets)') + number('sum(reply.packets)');
      edge.bytes += number('sum(bytes)') + number('sum(reply.bytes)');
      edge.dropped += number('sum(dropped.packets)');
      const last = text('max(end)') ?? '';
      if (last > edge.last) edge.last = last;
      edges.set(id, edge);
    }
  }
  return { places, edges: [...edges.values()].sort(worstFirst) };
}

function worstFirst(one: Edge, other: Edge): number {
  return (
    Number(isDenied(other.verdict)) - Number(isDenied(one.verdict)) ||
    other.connections - one.connections ||
    (one.id < other.id ? -1 : 1)
  );
}

function isWithin(end: End, focus: string): boolean {
  const { node, namespace, workload } = focused(focus);
  if (node) return end.node === node;
  return end.namespace === namespace && (!workload || ownerOf(end) === workload);
}

function ownerOf({ kind, name }: End): string {
  return kind === 'pod' && name ? workloadOf(name) : (name ?? '');
}

function keep(places: Map<string, Place>, end: End, view: View): Place {
  const level = levelOf(end, view);
  const kind = end.kind ?? '';
  const namespace = level === 'node' ? '' : (end.namespace ?? '');
  const name = nameOf(end, level);
  // Whatever lives in a namespace, or on a node, is that namespace or node at its level.
  const of = (level === 'namespace' && namespace) || (level === 'node' && name) ? '' : kind;
  const id = [level, of, namespace, name].join(':');
  const known = places.get(id);
  const place = known ?? {
    id,
    level,
    kind: of,
    namespace,
    name,
    node: level === 'pod' ? (end.node ?? '') : '',
    members: [],
    connections: 0,
    denied: 0,
  };
  if (level === 'workload' && end.name && !place.members.includes(end.name)) place.members.push(end.name);
  if (!known) places.set(id, place);
  return place;
}

function levelOf(end: End, { by, focus }: View): Level {
  if (!focus || isWithin(end, focus)) return by;
  const { node, workload } = focused(focus);
  if (node) return 'node';
  return workload ? 'workload' : 'namespace';
}

function nameOf(end: End, level: Level): string {
  if (level === 'node') return end.node ?? '';
  if (level === 'namespace') return end.namespace ? '' : end.kind === 'node' ? (end.name ?? '') : '';
  return level === 'workload' ? ownerOf(end) : (end.name ?? '');
}

/** The edges that are drawn: all that are denied, and the heaviest of the others; and how many are left out. */
export function bounded(edges: Edge[], most: number): { drawn: Edge[]; left: number } {
  const denied = edges.filter(({ verdict }) => isDenied(verdict));
  const others = edges.filter(({ verdict }) => !isDenied(verdict));
  const drawn = [...denied, ...others.slice(0, Math.max(0, most - denied.length))];
  return { drawn, left: edges.length - drawn.length };
}

/** Only places that a drawn edge touches. */
export function touched(graph: Graph, drawn: Edge[]): Place[] {
  const ids = new Set(drawn.flatMap(({ from, to }) => [from, to]));
  return [...graph.places.values()].filter(({ id }) => ids.has(id));
}

/** In which groups places of a level can stand. */
export function groupsOf(by: Level): Group[] {
  if (by === 'workload') return ['none', 'namespace'];
  return by === 'pod' ? ['none', 'namespace', 'workload', 'node'] : ['none'];
}

/** The group of a place; empty for one without. */
export function groupOf(place: Place, group: Group): string {
  if (place.level === 'namespace' || place.level === 'node') return '';
  if (group === 'namespace') return place.namespace;
  if (group === 'node') return place.node;
  if (group !== 'workload' || place.level !== 'pod' || place.kind !== 'pod') return '';
  return `${place.namespace}/${workloadOf(place.name)}`;
}

/** What stepping into a place shows; nothing for a pod, and for what is not of the cluster. */
export function step(place: Place): View | undefined {
  if (place.level === 'namespace' && place.namespace) return { by: 'workload', focus: place.namespace };
  if (place.level === 'workload' && place.namespace && place.name)
    return { by: 'pod', focus: `${place.namespace}/${place.name}` };
  if (place.level === 'node' && place.name) return { by: 'pod', focus: `node:${place.name}` };
  return undefined;
}

/** The views that lead to a focus, the whole first; the last is the one that is shown. */
export function trail(focus: string): (View & { label: string })[] {
  const { node, namespace, workload } = focused(focus);
  if (node) return [whole('node'), { by: 'pod', focus, label: node }];
  const all: (View & { label: string })[] = [whole('namespace')];
  if (namespace) all.push({ by: 'workload', focus: namespace, label: namespace });
  if (workload) all.push({ by: 'pod', focus, label: workload });
  return all;
}

function whole(by: Level) {
  return { by, focus: '', label: '' };
}

/** What finds connections that a place opened (`src`) or answered (`dst`). */
export function clause(side: 'src' | 'dst', place: Place): string {
  const is = (field: string, value: string) => (value ? `${side}.${field}=${quoted(value)}` : '');
  const kind = place.kind ? is('kind', place.kind) : '';
  if (place.level === 'node' && place.name) return is('node', place.name);
  if (place.level === 'namespace' && place.namespace) return is('namespace', place.namespace);
  if (place.level === 'workload' && place.members.length)
    return and(kind, is('namespace', place.namespace), among(side, place));
  if (place.kind === 'pod' && place.name && place.namespace)
    return `${side}.pod=${quoted(`${place.namespace}/${place.name}`)}`;
  return and(kind || `not ${side}.kind~*`, is('namespace', place.namespace), is('name', place.name));
}

const MOST_NAMES = 20;

function among(side: string, { members, name }: Place): string {
  const names = [...members].sort().map(quoted);
  if (names.length === 1) return `${side}.name=${names[0]}`;
  if (names.length <= MOST_NAMES) return `${side}.name in (${names.join(', ')})`;
  return `${side}.name~${quoted(`${escaped(name)}-*`)}`;
}

/** A place by all that is said of it, for those who look for it. */
export function wordsOf({ namespace, name, kind, node }: Place): string {
  return [namespace && name ? `${namespace}/${name}` : namespace || name, kind, node].join(' ').toLowerCase();
}

/** Places by what someone types: all words must be in one. */
export function found(places: Place[], text: string): Place[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  return places.filter((place) => words.every((word) => wordsOf(place).includes(word)));
}

/** How often a second, minute or hour; the unit in which it is at least one. */
export function rate(count: number, seconds: number): { value: number; per: 's' | 'min' | 'h' } {
  const perSecond = count / Math.max(seconds, 1e-3);
  if (perSecond >= 1 || count === 0) return { value: perSecond, per: 's' };
  return perSecond * 60 >= 1 ? { value: perSecond * 60, per: 'min' } : { value: perSecond * 3600, per: 'h' };
}
