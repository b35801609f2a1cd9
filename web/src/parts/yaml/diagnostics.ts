import type { Diagnostic } from '@codemirror/lint';
import type { Text } from '@codemirror/state';
import type { YamlProblem } from './types';

/** Problems as CodeMirror has them; what lies behind the end of a text that was changed meanwhile is at its end. */
export function diagnostics(doc: Text, problems: YamlProblem[]): Diagnostic[] {
  const offset = (line: number, column: number) => {
    if (line > doc.lines) return doc.length;
    const { from, text } = doc.line(Math.max(line, 1));
    return from + units(text, column - 1);
  };
  return problems.map(({ line = 1, column = 1, endLine, endColumn, severity, message }) => {
    const from = offset(line, column);
    const end = endColumn === undefined ? doc.lineAt(from).to : offset(endLine ?? line, endColumn);
    return { from, to: Math.max(from, end), severity, message };
  });
}

/** How many UTF-16 units the first characters of a line are. */
function units(text: string, characters: number): number {
  return Array.from(text).slice(0, Math.max(characters, 0)).join('').length;
}
