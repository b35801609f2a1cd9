import { HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { EditorView } from '@codemirror/view';
import { tags } from '@lezer/highlight';

const text = (name: string) => `var(--pf-t--global--text--color--${name})`;
const fill = (name: string) => `var(--pf-t--global--background--color--${name})`;
const tone = (name: string) => ({
  borderInlineStart: `3px solid var(--pf-t--global--border--color--status--${name}--default)`,
  backgroundColor: `color-mix(in srgb, var(--pf-t--global--color--status--${name}--default) 14%, transparent)`,
});

/** The colours of PatternFly's tokens, which follow the theme. */
export const LOOK = [
  EditorView.theme({
    '&': {
      color: text('regular'),
      backgroundColor: fill('primary--default'),
      border: '1px solid var(--pf-t--global--border--color--default)',
      borderRadius: 'var(--pf-t--global--border--radius--small)',
      fontSize: 'var(--pf-t--global--font--size--body--sm)',
    },
    '&.cm-focused': { outline: '2px solid var(--pf-t--global--border--color--brand--default)' },
    '.cm-scroller': { fontFamily: 'var(--pf-t--global--font--family--mono)', lineHeight: '1.6' },
    '.cm-content': { caretColor: text('regular') },
    '.cm-cursor': { borderLeftColor: text('regular') },
    '.cm-gutters': {
      color: text('subtle'),
      backgroundColor: fill('secondary--default'),
      borderRight: '1px solid var(--pf-t--global--border--color--default)',
    },
    '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {
      backgroundColor: `${fill('highlight--default')} !important`,
      opacity: 0.4,
    },
    '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'transparent' },
    '.cm-tooltip': {
      color: text('regular'),
      backgroundColor: fill('floating--default'),
      border: '1px solid var(--pf-t--global--border--color--default)',
    },
    '.nv-line': { borderInlineStart: '3px solid transparent' },
    '.nv-info': tone('info'),
    '.nv-success': tone('success'),
    '.nv-warning': tone('warning'),
    '.nv-danger': tone('danger'),
    '.nv-subtle': { backgroundColor: fill('secondary--default') },
    '.nv-note': {
      marginInlineStart: '2ch',
      paddingInline: '1ch',
      borderRadius: 'var(--pf-t--global--border--radius--pill)',
      fontFamily: 'var(--pf-t--global--font--family--body)',
      border: '1px solid var(--pf-t--global--border--color--default)',
      color: text('regular'),
      backgroundColor: fill('primary--default'),
    },
    '.nv-note-subtle': { color: text('subtle') },
    ...Object.fromEntries(
      ['info', 'success', 'warning', 'danger'].map((name) => [
        `.nv-note-${name}`,
        { borderColor: `var(--pf-t--global--border--color--status--${name}--default)` },
      ]),
    ),
  }),
  syntaxHighlighting(
    HighlightStyle.define([
      { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: text('link--default') },
      { tag: [tags.string, tags.content], color: text('regular') },
      { tag: [tags.comment, tags.lineComment], color: text('subtle'), fontStyle: 'italic' },
      { tag: [tags.punctuation, tags.separator, tags.squareBracket, tags.brace, tags.meta], color: text('subtle') },
      { tag: [tags.number, tags.bool, tags.keyword], color: text('status--success--default') },
    ]),
  ),
];
