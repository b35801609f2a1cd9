import { expect, test, type Page } from './console';
import { serve, type Running } from './server';

/** As many as are to come; the tail must have room for all of them in little memory. */
const UPDATES = Number(process.env.UPDATES ?? 60_000);
const MOST_NODES = 6_000;
const MOST_HEAP = 400e6;

let server: Running;
test.beforeAll(async () => (server = await serve('--rate', '20')));
test.afterAll(() => server.stop());

test('the live tail loses nothing and stays small', async ({ page }) => {
  test.setTimeout(900_000);
  await page.goto(`${server.url}/traffic`);
  await page.getByRole('switch', { name: 'Live tail' }).click({ force: true });
  await expect(page.getByTestId('live-state')).toHaveAttribute('data-state', 'live');
  const began = await told();
  await expect.poll(told, { timeout: 800_000, intervals: [1_000] }).toBeGreaterThan(began + UPDATES);
  const until = await told();
  await expect.poll(() => count(page, 'received'), { timeout: 60_000 }).toBeGreaterThanOrEqual(until - began);
  await page.getByRole('button', { name: 'Pause' }).click();
  expect(await count(page, 'lost')).toBe(0);
  await expect(page.getByTestId('row').first()).toBeVisible();
  expect(await page.evaluate(() => document.querySelectorAll('*').length)).toBeLessThan(MOST_NODES);
  expect(await heap(page)).toBeLessThan(MOST_HEAP);
});

/** How many updates the server told since it started. */
async function told(): Promise<number> {
  const sources = (await (await fetch(`${server.url}/api/v1/sources`)).json()) as { live: { updates: number } };
  return sources.live.updates;
}

const count = async (page: Page, name: string) =>
  Number(await page.getByTestId(`live-${name}`).getAttribute('data-count'));

/** Bytes of JavaScript's heap that are in use, garbage left out. */
async function heap(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  await session.send('Performance.enable');
  const { metrics } = await session.send('Performance.getMetrics');
  return metrics.find(({ name }) => name === 'JSHeapUsedSize')?.value ?? Infinity;
}
