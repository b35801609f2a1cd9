/** Makes pieces of queries (docs/query-language.md). */

/** A value as a query takes it: in quotes where it needs them. */
export function quoted(value: string): string {
  const isBare = /^[^\s\p{Cc}(),|"'=!~<>?]+$/u.test(value) && !['and', 'or', 'not', 'in'].includes(value);
  return isBare ? value : `"${value.replace(/["\\]/g, '\\$&').replace(/\n/g, '\\n').replace(/\r/g, '\\r')}"`;
}

/** All of these; empty ones ask nothing. */
export function and(...clauses: (string | undefined | false)[]): string {
  const all = clauses.map((clause) => (clause || '').trim()).filter(Boolean);
  return all.length < 2 ? (all[0] ?? '') : all.map((clause) => (isOne(clause) ? clause : `(${clause})`)).join(' and ');
}

/** Whether it can stand beside `and` as it is. */
function isOne(clause: string): boolean {
  return !/\bor\b/.test(clause) || isWrapped(clause);
}

/** Whether the first parenthesis ends with the last letter. Quotes do not matter: at worst there are more than needed. */
function isWrapped(clause: string): boolean {
  if (!clause.startsWith('(') || /["']/.test(clause)) return false;
  let depth = 0;
  for (let at = 0; at < clause.length; at++) {
    if (clause[at] === '(') depth++;
    else if (clause[at] === ')') depth--;
    if (depth === 0) return at === clause.length - 1;
  }
  return false;
}
