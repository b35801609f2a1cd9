import cytoscape from 'cytoscape';
import fcose from 'cytoscape-fcose';
import type { Places, Plan } from './layout';

cytoscape.use(fcose);

/** So many places are arranged with care, more only roughly. */
const CAREFULLY = 800;
/** How far apart places stand that were arranged roughly, about. */
const APART = 90;

self.onmessage = ({ data: { nodes, pairs, known } }: MessageEvent<Plan>) => {
  const cy = cytoscape({
    headless: true,
    styleEnabled: true,
    style: [{ selector: 'node', style: { width: 'data(size)', height: 'data(size)' } }],
    elements: {
      nodes: nodes.map((data) => ({ data, ...(known[data.id] && { position: known[data.id] }) })),
      edges: pairs.map(({ from, to }) => ({ data: { source: from, target: to } })),
    },
  });
  const options = {
    name: 'fcose',
    animate: false,
    randomize: Object.keys(known).length === 0,
    quality: nodes.length > CAREFULLY ? 'draft' : 'default',
    nodeSeparation: 120,
    idealEdgeLength: 130,
    nodeRepulsion: 9000,
    numIter: 1500,
    padding: 0,
  };
  cy.layout(options).run();
  const leaves = cy.nodes(':childless');
  const { w, h } = leaves.boundingBox();
  const wide = Math.sqrt(leaves.length) * APART;
  const spread = options.quality === 'draft' ? Math.max(1, wide / Math.max(1, Math.min(w, h))) : 1;
  const places: Places = {};
  leaves.forEach((node) => {
    const { x, y } = node.position();
    places[node.id()] = { x: x * spread, y: y * spread };
  });
  self.postMessage(places);
};
