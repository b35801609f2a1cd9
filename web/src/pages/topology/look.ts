import type cytoscape from 'cytoscape';
import { useEffect, useState } from 'react';
import type { Verdict } from '../../api/client';
import { VERDICT_COLOR } from '../../parts/Verdict';

/** Colours of the theme, as a canvas takes them. */
export interface Look {
  verdicts: Record<Verdict, string>;
  kinds: Record<'namespace' | 'pod' | 'node' | 'other', string>;
  text: string;
  page: string;
  group: string;
  border: string;
  chosen: string;
  font: string;
}

/** The colours of the theme that is on. */
export function useLook(): Look {
  const [look, setLook] = useState(read);
  useEffect(() => {
    const watch = new MutationObserver(() => setLook(read()));
    watch.observe(document.documentElement, { attributes: true, attributeFilter: ['class'] });
    return () => watch.disconnect();
  }, []);
  return look;
}

function read(): Look {
  const probe = document.createElement('span');
  document.body.append(probe);
  const color = (value: string) => {
    probe.style.color = value;
    return getComputedStyle(probe).color;
  };
  const token = (name: string) => color(`var(--pf-t--global--${name})`);
  const verdicts = Object.fromEntries(
    Object.entries(VERDICT_COLOR).map(([verdict, value]) => [verdict, color(value)]),
  ) as Look['verdicts'];
  const look = {
    verdicts,
    kinds: {
      namespace: token('color--nonstatus--blue--default'),
      pod: token('color--nonstatus--teal--default'),
      node: token('color--nonstatus--purple--default'),
      other: token('color--nonstatus--gray--default'),
    },
    text: token('text--color--regular'),
    page: token('background--color--primary--default'),
    group: token('background--color--secondary--default'),
    border: token('border--color--default'),
    chosen: token('border--color--clicked'),
    font: getComputedStyle(document.body).fontFamily,
  };
  probe.remove();
  return look;
}

/** Edges up to which each has a text and a curve of its own. */
const FEW = 250;

/** How the picture is drawn; denied edges on top, and dashed, so that they are told apart without colours. */
export function style(look: Look, edges: number): cytoscape.StylesheetJson {
  const few = edges <= FEW;
  const verdicts = Object.entries(look.verdicts).map(([verdict, color]) => ({
    selector: `edge.${verdict}`,
    style: { 'line-color': color, 'target-arrow-color': color },
  }));
  const kinds = Object.entries(look.kinds).map(([kind, color]) => ({
    selector: `node.${kind}`,
    style: { 'background-color': color },
  }));
  return [
    {
      selector: 'node',
      style: {
        width: 'data(size)',
        height: 'data(size)',
        label: 'data(label)',
        color: look.text,
        'font-family': look.font,
        'font-size': 12,
        'min-zoomed-font-size': 7,
        'text-valign': 'bottom',
        'text-margin-y': 3,
        'text-max-width': '140px',
        'text-wrap': 'ellipsis',
        'border-width': 1.5,
        'border-color': look.border,
      },
    },
    ...kinds,
    { selector: 'node.namespace', style: { shape: 'round-rectangle' } },
    { selector: 'node.node', style: { shape: 'hexagon' } },
    { selector: 'node.other', style: { shape: 'diamond' } },
    { selector: 'node.denied', style: { 'border-color': look.verdicts.dropped, 'border-width': 3 } },
    {
      selector: ':parent',
      style: {
        shape: 'round-rectangle',
        'background-color': look.group,
        'background-opacity': 0.6,
        'border-color': look.border,
        'border-width': 1,
        'text-valign': 'top',
        'text-margin-y': -3,
        'font-weight': 'bold',
        padding: '18px',
      },
    },
    {
      selector: 'edge',
      style: {
        width: 'data(width)',
        'curve-style': few ? 'bezier' : 'straight',
        'target-arrow-shape': 'triangle',
        'arrow-scale': 0.8,
        opacity: few ? 0.85 : 0.5,
        ...(few && {
          label: 'data(label)',
          color: look.text,
          'font-family': look.font,
          'font-size': 10,
          'min-zoomed-font-size': 8,
          'text-background-color': look.page,
          'text-background-opacity': 0.85,
          'text-background-padding': '1px',
        }),
      },
    },
    ...verdicts,
    { selector: 'edge.denied', style: { 'line-style': 'dashed', 'z-index': 10, opacity: 1 } },
    { selector: '.faded', style: { opacity: 0.15 } },
    { selector: 'node.found', style: { 'border-color': look.chosen, 'border-width': 5 } },
    { selector: 'node.chosen', style: { 'border-color': look.chosen, 'border-width': 5 } },
    {
      selector: 'edge.chosen',
      style: {
        opacity: 1,
        'z-index': 20,
        'underlay-color': look.chosen,
        'underlay-opacity': 0.35,
        'underlay-padding': 4,
      },
    },
  ] as cytoscape.StylesheetJson;
}
