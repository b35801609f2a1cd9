import { Text } from '@codemirror/state';
import { render, screen } from '@testing-library/react';
import { expect, test } from 'vitest';
import CodeYaml from './CodeYaml';
import { diagnostics } from './diagnostics';

// Nothing is laid out here.
Range.prototype.getClientRects = () => [] as unknown as DOMRectList;

const TEXT = 'kind: NetworkPolicy\nmetadata:\n  name: "ä😀": x\n';

test('places of problems are found by characters, and never outside of the text', () => {
  const doc = Text.of(TEXT.split('\n'));
  const problem = { severity: 'error' as const, message: 'wrong' };
  const at = (place: object) => {
    const [found] = diagnostics(doc, [{ ...problem, ...place }]);
    return doc.sliceString(found!.from, found!.to);
  };
  expect(at({ line: 1, column: 7, endColumn: 20 })).toBe('NetworkPolicy');
  expect(at({ line: 3, column: 10, endColumn: 12 })).toBe('ä😀');
  expect(at({ line: 2 })).toBe('metadata:');
  expect(at({})).toBe('kind: NetworkPolicy');
  expect(at({ line: 99, column: 5 })).toBe('');
});

test('lines stand out and say something, counted from the first line that is shown', () => {
  const { container } = render(
    <CodeYaml
      label="allow-web"
      text={TEXT}
      firstLine={10}
      marks={[{ from: 11, to: 12, tone: 'danger' }]}
      notes={[{ line: 10, text: '12 packets' }]}
    />,
  );
  const content = screen.getByRole('textbox', { name: 'allow-web' });
  expect(content.getAttribute('contenteditable')).toBe('false');
  expect([...container.querySelectorAll('.nv-danger')].map((it) => it.textContent?.trim())).toEqual([
    'metadata:',
    'name: "ä😀": x',
  ]);
  expect(container.querySelector('.nv-note')?.textContent).toBe('12 packets');
});

test('an editor shows where something is wrong', () => {
  const problems = [{ severity: 'error' as const, message: 'no such kind', line: 1, column: 7, endColumn: 20 }];
  const { container } = render(<CodeYaml label="new" text={TEXT} onChange={() => {}} problems={problems} />);
  expect(screen.getByRole('textbox', { name: 'new' }).getAttribute('contenteditable')).toBe('true');
  expect(container.querySelector('.cm-lintRange-error')?.textContent).toBe('NetworkPolicy');
});
