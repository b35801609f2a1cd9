import { expect, test as base, type Locator, type Page } from '@playwright/test';

interface Options {
  /** Faults that a test brings about itself, by their text. */
  expected: RegExp[];
}

/** A test that fails if the console says an error, breaks its Content-Security-Policy, or asks another host. */
export const test = base.extend<Options & { watched: void }>({
  expected: [[], { option: true }],
  watched: [
    async ({ page, expected }, use) => {
      const faults: string[] = [];
      page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
      page.on('pageerror', (error) => faults.push(error.stack ?? error.message));
      page.on('request', (request) => {
        const { hostname, protocol } = new URL(request.url());
        if (/^https?:$/.test(protocol) && hostname !== '127.0.0.1') faults.push(`asked ${request.url()}`);
      });
      await use();
      expect(faults.filter((fault) => !expected.some((pattern) => pattern.test(fault)))).toEqual([]);
    },
    { auto: true },
  ],
});

/** Keeps a picture as an artefact. */
export const picture = (page: Page, name: string) => page.screenshot({ path: `test-results/pictures/${name}.png` });

/** The pages by the names that the menu has. */
export const PAGES = ['Overview', 'Traffic', 'Topology', 'Policies', 'What if', 'Explain', 'Health'] as const;

/** The page that a name of the menu leads to. */
export const path = (name: (typeof PAGES)[number]) => `/${name.toLowerCase().replace(' ', '')}`;

export { expect, type Locator, type Page };
