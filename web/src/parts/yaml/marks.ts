import type { Text } from '@codemirror/state';
import { Decoration, EditorView, WidgetType, type DecorationSet } from '@codemirror/view';
import type { YamlMark, YamlNote } from './types';

/** Lines that stand out, and what is said behind them, in a text whose first line has the number `firstLine`. */
export function decorations(doc: Text, firstLine: number, marks: YamlMark[], notes: YamlNote[]): DecorationSet {
  const all = [];
  const at = (line: number) => line - firstLine + 1;
  for (const { from, to = from, tone } of marks) {
    for (let line = Math.max(at(from), 1); line <= Math.min(at(to), doc.lines); line++) {
      all.push(Decoration.line({ class: `nv-line nv-${tone}` }).range(doc.line(line).from));
    }
  }
  for (const note of notes) {
    const line = at(note.line);
    if (line < 1 || line > doc.lines) continue;
    all.push(Decoration.widget({ widget: new Note(note), side: 1 }).range(doc.line(line).to));
  }
  return Decoration.set(all, true);
}

class Note extends WidgetType {
  constructor(readonly note: YamlNote) {
    super();
  }

  override eq(other: Note) {
    return JSON.stringify(this.note) === JSON.stringify(other.note);
  }

  override toDOM(_view: EditorView) {
    const span = document.createElement('span');
    span.className = `nv-note nv-note-${this.note.tone ?? 'subtle'}`;
    span.textContent = this.note.text;
    if (this.note.title) span.title = this.note.title;
    return span;
  }
}
