// How much JavaScript the first page takes, packed as it is sent: the entry, in which the page is that opens first, and
// all that it imports at once. Fails beyond the budget.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const BUDGET = 600_000;
const FIRST = 'index.html';

const manifest = JSON.parse(readFileSync('dist/.vite/manifest.json', 'utf8'));
const chunks = new Set();
const add = (name) => {
  if (chunks.has(name)) return;
  chunks.add(name);
  for (const other of manifest[name].imports ?? []) add(other);
};
add(FIRST);
const packed = (name) => gzipSync(readFileSync(`dist/${manifest[name].file}`)).length;
const bytes = [...chunks].map(packed).reduce((sum, size) => sum + size, 0);
const kilobytes = (bytes) => `${Math.round(bytes / 1000)} kB`;
console.log(
  `first load: ${kilobytes(bytes)} of JavaScript, gzipped, in ${chunks.size} files; ${kilobytes(BUDGET)} at most`,
);
if (bytes > BUDGET) process.exit(1);
