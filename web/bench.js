// Figures of the console in Chromium, on the demo of the binary NETVERDICT. Prints `bench NAME VALUE UNIT`.
// console_paint: from the click on a link to Traffic until its first connection is on the screen, nothing cached.
// console_live_fps: frames a second while the live tail runs.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { chromium } from '@playwright/test';

const LOADS = 5;
const SECONDS = 10;
const RATE = 10;

const server = spawn(process.env.NETVERDICT, ['server', '--demo', '--rate', RATE, '--listen', '127.0.0.1:0'], {
  stdio: ['ignore', 'ignore', 'pipe'],
});
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM });
try {
  const url = await address();
  await seen(url);
  const paints = [];
  for (let load = 0; load < LOADS; load++) paints.push(await paint(url));
  console.log(`bench console_paint ${Math.round(median(paints))} ms`);
  console.log(`bench console_live_fps ${(await frames(url)).toFixed(1)} 1/s`);
} finally {
  await browser.close();
  server.kill();
}

async function address() {
  for await (const line of createInterface(server.stderr)) {
    const url = /answering at (http:\/\/[^/]+)/.exec(line)?.[1];
    if (url) return url;
  }
  throw new Error('the server ended');
}

/** Waits until there is something to show. */
async function seen(url) {
  for (let tries = 0; tries < 300; tries++) {
    const answer = await fetch(`${url}/api/v1/connections?since=-5m`).then((it) => it.json());
    if (answer.items?.length >= 50) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error('the demo has no connections');
}

async function paint(url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto(`${url}/traffic`, { waitUntil: 'commit' });
  const time = await page.evaluate(
    () =>
      new Promise((resolve) => {
        const look = () =>
          document.querySelector('[data-testid=row]')
            ? requestAnimationFrame(() => resolve(performance.now()))
            : requestAnimationFrame(look);
        look();
      }),
  );
  await context.close();
  return time;
}

async function frames(url) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.goto(`${url}/traffic`);
  await page.getByTestId('row').first().waitFor();
  await page.getByRole('switch', { name: 'Live tail' }).click({ force: true });
  return page.evaluate(
    (seconds) =>
      new Promise((resolve) => {
        let count = 0;
        let begin;
        const next = (now) => {
          begin ??= now;
          if (now - begin >= seconds * 1000) resolve(count / ((now - begin) / 1000));
          else requestAnimationFrame(next);
          count++;
        };
        requestAnimationFrame(next);
      }),
    SECONDS,
  );
}

function median(values) {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
