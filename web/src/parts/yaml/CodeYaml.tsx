import { yaml } from '@codemirror/lang-yaml';
import { lintGutter, setDiagnostics } from '@codemirror/lint';
import { Compartment, EditorState, type Extension } from '@codemirror/state';
import { EditorView, keymap, lineNumbers } from '@codemirror/view';
import { basicSetup } from 'codemirror';
import { useEffect, useRef } from 'react';
import { diagnostics } from './diagnostics';
import { LOOK } from './look';
import { decorations } from './marks';
import type { YamlMark, YamlNote, YamlProblem } from './types';

export interface CodeYamlProps {
  /** What it is, for those who do not see it. */
  label: string;
  text: string;
  /** Called with each change; without it the text is for reading. */
  onChange?: (text: string) => void;
  /** Called for Ctrl-Enter. */
  onRun?: () => void;
  marks?: YamlMark[];
  notes?: YamlNote[];
  problems?: YamlProblem[];
  /** The number of the first line, where the text is part of a longer one. */
  firstLine?: number;
  /** The line that is brought into sight. */
  reveal?: number;
  /** Such as `20rem`; what is more scrolls. */
  maxHeight?: string;
  minHeight?: string;
}

const NONE: never[] = [];

/** CodeMirror, as long as it is there. Use `Yaml`, which fetches it. */
export default function CodeYaml(props: CodeYamlProps) {
  const { text, marks = NONE, notes = NONE, problems = NONE, firstLine = 1, reveal, label, onChange } = props;
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const shown = useRef(new Compartment());
  const latest = useRef(props);
  useEffect(() => {
    latest.current = props;
  });
  const isEditable = onChange !== undefined;

  useEffect(() => {
    if (!place.current) return;
    const { text, maxHeight, minHeight } = latest.current;
    const made = new EditorView({
      parent: place.current,
      state: EditorState.create({
        doc: text,
        extensions: [
          isEditable ? editable(latest) : READ_ONLY,
          yaml(),
          LOOK,
          lineNumbers({ formatNumber: (line) => String(line + firstLine - 1) }),
          shown.current.of([]),
          EditorView.contentAttributes.of({ 'aria-label': label }),
          EditorView.theme({
            ...(maxHeight && { '&': { maxHeight } }),
            '.cm-scroller': { overflow: 'auto', ...(minHeight && { minHeight }) },
          }),
        ],
      }),
    });
    view.current = made;
    return () => made.destroy();
  }, [isEditable, label, firstLine]);

  useEffect(() => {
    const { current } = view;
    if (!current || current.state.doc.toString() === text) return;
    current.dispatch({ changes: { from: 0, to: current.state.doc.length, insert: text } });
  }, [text, isEditable, label, firstLine]);

  useEffect(() => {
    const { current } = view;
    if (!current) return;
    const set = decorations(current.state.doc, firstLine, marks, notes);
    current.dispatch({ effects: shown.current.reconfigure(EditorView.decorations.of(set)) });
  }, [text, marks, notes, isEditable, label, firstLine]);

  useEffect(() => {
    const { current } = view;
    if (current) current.dispatch(setDiagnostics(current.state, diagnostics(current.state.doc, problems)));
  }, [problems, isEditable, label, firstLine]);

  useEffect(() => {
    const { current } = view;
    const line = (reveal ?? 0) - firstLine + 1;
    if (!current || line < 1 || line > current.state.doc.lines) return;
    const { from } = current.state.doc.line(line);
    if (latest.current.maxHeight) middle(current, from);
    else current.dispatch({ effects: EditorView.scrollIntoView(from, { y: 'center' }) });
  }, [reveal, text, isEditable, label, firstLine]);

  return <div ref={place} className="nv-yaml" />;
}

/** Brings a place of a text that scrolls by itself to the middle, and leaves all around it where it is. */
function middle(view: EditorView, place: number) {
  view.requestMeasure({
    read: ({ scrollDOM }) => {
      const { top, height } = view.lineBlockAt(place);
      return top - (scrollDOM.clientHeight - height) / 2;
    },
    write: (top, { scrollDOM }) => {
      scrollDOM.scrollTop = top;
    },
  });
}

const READ_ONLY: Extension = [
  EditorState.readOnly.of(true),
  EditorView.editable.of(false),
  // It can be scrolled by keys.
  EditorView.contentAttributes.of({ tabindex: '0', 'aria-readonly': 'true' }),
];

function editable(latest: { readonly current: CodeYamlProps }): Extension {
  return [
    keymap.of([
      {
        key: 'Mod-Enter',
        run: () => {
          latest.current.onRun?.();
          return latest.current.onRun !== undefined;
        },
      },
    ]),
    basicSetup,
    lintGutter(),
    EditorView.updateListener.of((update) => {
      if (update.docChanged) latest.current.onChange?.(update.state.doc.toString());
    }),
  ];
}
