/**
 * A query taken apart as far as chips need it (docs/query-language.md): the terms that `and` joins. What no chip can
 * say stays text. The server alone judges whether a query is right.
 */

export type Side = 'source' | 'destination' | 'either' | 'common';
export type Operator = '=' | '~' | '<' | '<=' | '>' | '>=' | 'in';
export const OPERATORS: readonly Operator[] = ['=', '~', '<', '<=', '>', '>=', 'in'];

/** One comparison: `field` is one of `values`, or not. */
export interface Comparison {
  field: string;
  operator: Operator;
  /** Without quotes. */
  values: string[];
  negated: boolean;
}

/** A part of a query that `and` joins with the others. */
export interface Term {
  /** As it stands in the query. */
  text: string;
  /** Missing where it says more than a comparison. */
  comparison?: Comparison;
}

export interface Query {
  terms: Term[];
  /** What stands behind `|`, with it; empty if nothing does. */
  tail: string;
}

type Kind = 'word' | 'quoted' | 'compare' | 'open' | 'close' | 'comma' | 'pipe';
interface Token {
  kind: Kind;
  /** As it stands there. */
  text: string;
  from: number;
  to: number;
}

const TOKEN =
  /\s*(?:(?<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?<compare>!=|!~|<=|>=|=|~|<|>)|(?<open>\()|(?<close>\))|(?<comma>,)|(?<pipe>\|)|(?<word>[^\s(),|"'=!~<>]+))/uy;

/** Null for a text that has no tokens: a quote that is not closed. */
function tokens(text: string): Token[] | null {
  const found: Token[] = [];
  const end = text.trimEnd().length;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < end) {
    const match = TOKEN.exec(text);
    if (!match?.groups) return null;
    const [kind, own] = Object.entries(match.groups).find(([, own]) => own !== undefined) as [Kind, string];
    found.push({ kind, text: own, from: TOKEN.lastIndex - own.length, to: TOKEN.lastIndex });
  }
  return found;
}

const isWord = (token: Token | undefined, word: string) => token?.kind === 'word' && token.text === word;

/** Takes a query apart. Joined again it is the same question. */
export function parse(text: string): Query {
  const all = tokens(text);
  if (!all) return { terms: [{ text: text.trim() }], tail: '' };
  const pipe = all.findIndex(({ kind }) => kind === 'pipe');
  const head = pipe < 0 ? all : all.slice(0, pipe);
  const tail = pipe < 0 ? '' : text.slice(all[pipe]?.from).trim();
  return { terms: split(head, text), tail };
}

function split(all: Token[], text: string): Term[] {
  if (all.length === 0) return [];
  const parts: Token[][] = [[]];
  let depth = 0;
  for (const token of all) {
    if (token.kind === 'open') depth++;
    if (token.kind === 'close') depth--;
    const top = depth === 0;
    if (depth < 0 || (top && isWord(token, 'or'))) return [term(all, text)];
    if (top && isWord(token, 'and')) parts.push([]);
    else parts.at(-1)?.push(token);
  }
  if (depth !== 0 || parts.some((part) => part.length === 0)) return [term(all, text)];
  return parts.map((part) => term(part, text));
}

function term(part: Token[], text: string): Term {
  const own = text.slice(part[0]?.from, part.at(-1)?.to);
  const found = comparison(part);
  return found ? { text: own, comparison: found } : { text: own };
}

function comparison(part: Token[]): Comparison | undefined {
  if (isWord(part[0], 'not')) {
    const inner = comparison(part.slice(1));
    return inner && { ...inner, negated: !inner.negated };
  }
  const [first, second, third] = part;
  if (first?.kind === 'open') return alternatives(part);
  if (first?.kind !== 'word' || !second) return undefined;
  if (second.kind === 'compare' && part.length === 3 && third && isValue(third)) {
    const negated = second.text.startsWith('!');
    const operator = (second.text === '!=' ? '=' : second.text === '!~' ? '~' : second.text) as Operator;
    return { field: first.text, operator, values: [unquote(third.text)], negated };
  }
  if (!isWord(second, 'in')) return undefined;
  const set = third?.kind === 'open' && part.at(-1)?.kind === 'close' ? part.slice(3, -1) : part.slice(2);
  const values = set.filter((_, index) => index % 2 === 0);
  const commas = set.filter((_, index) => index % 2 === 1);
  if (set.length % 2 === 0 || !values.every(isValue) || !commas.every(({ kind }) => kind === 'comma')) return undefined;
  if (third?.kind !== 'open' && set.length > 1) return undefined;
  return { field: first.text, operator: 'in', values: values.map(({ text }) => unquote(text)), negated: false };
}

/** `(field~a or field~b)` is one comparison with several values. */
function alternatives(part: Token[]): Comparison | undefined {
  if (part.at(-1)?.kind !== 'close') return undefined;
  const inner = part.slice(1, -1);
  const found: Comparison[] = [];
  for (let at = 0; at < inner.length; at += 4) {
    const one = comparison(inner.slice(at, at + 3));
    if (!one || one.negated || (at > 0 && !isWord(inner[at - 1], 'or'))) return undefined;
    found.push(one);
  }
  const [first] = found;
  if (!first || found.length < 2) return undefined;
  if (found.some((one) => one.field !== first.field || one.operator !== first.operator)) return undefined;
  return { ...first, values: found.flatMap(({ values }) => values) };
}

const isValue = ({ kind }: Token) => kind === 'word' || kind === 'quoted';
const ESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t' };

function unquote(text: string): string {
  if (!/^["']/.test(text)) return text;
  return text.slice(1, -1).replace(/\\(.)/gsu, (_, escaped: string) => ESCAPES[escaped] ?? escaped);
}

/** A value as it may stand in a query. */
export function quote(value: string): string {
  const bare = /^[^\s(),|"'=!~<>\p{C}]+$/u.test(value) && !['and', 'or', 'not', 'in'].includes(value);
  if (bare) return value;
  return `"${value.replace(/["\\]/g, '\\$&').replace(/\n/g, '\\n').replace(/\r/g, '\\r').replace(/\t/g, '\\t')}"`;
}

/** The text of a comparison. */
export function print({ field, operator, values, negated }: Comparison): string {
  const all = values.map(quote);
  const [first = '""'] = all;
  const not = negated ? 'not ' : '';
  if (all.length > 1 && operator !== 'in' && operator !== '=')
    return `${not}(${all.map((value) => `${field}${operator}${value}`).join(' or ')})`;
  if (all.length > 1 || operator === 'in') return `${not}${field} in ${all.length > 1 ? `(${all.join(', ')})` : first}`;
  if (negated && (operator === '=' || operator === '~')) return `${field}!${operator}${first}`;
  return `${not}${field}${operator}${first}`;
}

/** A term that says this. */
export const of = (comparison: Comparison): Term => ({ text: print(comparison), comparison });

/** The text of a query. */
export function join({ terms, tail }: Query): string {
  const parts = terms.map(({ text, comparison }) => (!comparison && terms.length > 1 ? enclose(text) : text));
  return [parts.join(' and '), tail].filter(Boolean).join(' ');
}

/** Parentheses around what `and` would tear apart. */
function enclose(text: string): string {
  const found = parse(text);
  const [only] = found.terms;
  const all = tokens(text);
  if (!all || !only || found.terms.length > 1) return text;
  let depth = 0;
  for (const token of all) {
    if (token.kind === 'open') depth++;
    if (token.kind === 'close') depth--;
    if (depth === 0 && isWord(token, 'or')) return `(${text})`;
  }
  return text;
}

/** The opposite of a term. */
export function negate(term: Term): Term {
  if (term.comparison) return of({ ...term.comparison, negated: !term.comparison.negated });
  const all = tokens(term.text);
  if (all && isWord(all[0], 'not')) {
    const rest = parse(term.text.slice(all[1]?.from));
    if (rest.terms.length === 1 && rest.terms[0]) return rest.terms[0];
  }
  const wrapped = /^\(.*\)$/su.test(term.text) && enclose(term.text) === term.text;
  return { text: `not ${wrapped ? term.text : `(${term.text})`}` };
}

/** Fields that either end has; without `src.` or `dst.` they mean either one. */
const ENDS = new Set(['ip', 'kind', 'name', 'namespace', 'pod', 'port']);
/** Those that are something else without. */
const ENDS_ONLY = new Set(['node']);

/** Which end a term is about. */
export function side({ comparison }: Term): Side {
  if (!comparison) return 'common';
  const { field } = comparison;
  if (field.startsWith('src.')) return 'source';
  if (field.startsWith('dst.')) return 'destination';
  return ENDS.has(field) ? 'either' : 'common';
}

/** The sides that a term can be turned to. */
export function sides(term: Term): Side[] {
  const name = term.comparison?.field.replace(/^(src|dst)\./, '') ?? '';
  const own = side(term);
  if (own === 'common') return [];
  return ENDS.has(name) ? ['either', 'source', 'destination'] : ['source', 'destination'];
}

/** The same about another end. */
export function turn(term: Term, to: Side): Term {
  if (!term.comparison) return term;
  const name = term.comparison.field.replace(/^(src|dst)\./, '');
  if (!ENDS.has(name) && !ENDS_ONLY.has(name)) return term;
  const prefix = { source: 'src.', destination: 'dst.', either: '', common: '' }[to];
  return of({ ...term.comparison, field: prefix + name });
}

/** Source and destination exchanged, also inside of what no chip can say. */
export function swap(text: string): string {
  const all = tokens(text);
  if (!all) return text;
  let [swapped, at] = ['', 0];
  all.forEach((token, index) => {
    const next = all[index + 1];
    const isField = token.kind === 'word' && (next?.kind === 'compare' || isWord(next, 'in'));
    const turned = { 'src.': 'dst.', 'dst.': 'src.' }[token.text.slice(0, 4)];
    if (!turned || !isField) return;
    swapped += text.slice(at, token.from) + turned + token.text.slice(4);
    at = token.to;
  });
  return swapped + text.slice(at);
}

/**
 * Adds a term: another value of a field that is asked for already is an alternative, as in lists of filters
 * that people know. What is there already stays as it is.
 */
export function add(query: Query, added: Term): Query {
  if (query.terms.some((term) => same(term, added))) return query;
  const { comparison } = added;
  const at = query.terms.findIndex(
    (term) =>
      comparison &&
      term.comparison?.field === comparison.field &&
      joinable(term.comparison) &&
      joinable(comparison) &&
      term.comparison.negated === comparison.negated,
  );
  const known = query.terms[at]?.comparison;
  if (!comparison || !known) return { ...query, terms: [...query.terms, added] };
  const values = [...new Set([...known.values, ...comparison.values])];
  return { ...query, terms: query.terms.with(at, of({ ...known, operator: values.length > 1 ? 'in' : '=', values })) };
}

const joinable = ({ operator }: Comparison) => operator === '=' || operator === 'in';

/** Takes a term out, wherever it stands. */
export function remove(query: Query, removed: Term): Query {
  return { ...query, terms: query.terms.filter((term) => !same(term, removed)) };
}

export const has = (query: Query, wanted: Term) => query.terms.some((term) => same(term, wanted));

/** True for terms that say the same in the same way, whatever the spaces and quotes. */
export function same(one: Term, other: Term): boolean {
  if (one.comparison && other.comparison) return print(one.comparison) === print(other.comparison);
  const plain = (text: string) =>
    tokens(text)
      ?.map(({ text }) => text)
      .join(' ') ?? text;
  return plain(one.text) === plain(other.text);
}
