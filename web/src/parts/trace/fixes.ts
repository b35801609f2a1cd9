import type { Fix, FixPart } from './types';

/**
 * The changed objects as one text for `kubectl apply`; of an object that is changed twice the last. Empty where one of
 * the texts is not told.
 */
export function fixText(fix: Fix): string {
  const texts = new Map<string, string>();
  for (const { object, text } of fix.parts) {
    if (!text) return '';
    texts.delete(object);
    texts.set(object, text.replace(/^---[^\n]*\n/, '').trimEnd());
  }
  return [...texts.values()].join('\n---\n') + '\n';
}

/** The command that makes one change; empty where it is not told. */
export function kubectl({ object, patch, text }: FixPart): string {
  const [kind = '', place = ''] = object.split(' ');
  if (!Array.isArray(patch)) return !text ? '' : `kubectl apply -f - <<'EOF'\n${text.trimEnd()}\nEOF`;
  const [namespace, name] = place.includes('/') ? place.split('/') : [undefined, place];
  const where = namespace ? ` --namespace ${namespace}` : '';
  const quoted = JSON.stringify(patch).replaceAll("'", `'\\''`);
  return `kubectl patch ${kind.toLowerCase()} ${name}${where} --type=json -p '${quoted}'`;
}

export type DiffLine = { kind: 'same' | 'old' | 'new' | 'place'; text: string };

/** The lines of a unified diff without the names of files; a text that is no diff is new as a whole. */
export function diffLines(diff: string): DiffLine[] {
  const lines = diff.trimEnd().split('\n');
  if (!lines.some((line) => line.startsWith('@@'))) return lines.map((text) => ({ kind: 'new', text }));
  return lines
    .filter((line) => !/^(---|\+\+\+) /.test(line))
    .map((line) => {
      if (line.startsWith('@@')) return { kind: 'place', text: line };
      const text = line.slice(1);
      if (line.startsWith('+')) return { kind: 'new', text };
      return line.startsWith('-') ? { kind: 'old', text } : { kind: 'same', text };
    });
}
