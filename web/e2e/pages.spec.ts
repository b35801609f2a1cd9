import AxeBuilder from '@axe-core/playwright';
import { expect, PAGES, path, picture, test, type Page } from './console';

const WIDTHS = [1280, 390];
const THEMES = ['light', 'dark'] as const;

for (const name of PAGES) {
  for (const theme of THEMES) {
    test(`${name}: nothing serious for axe, in the ${theme} theme`, async ({ page }) => {
      await page.emulateMedia({ colorScheme: theme });
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 800 });
        await page.goto(path(name));
        await settled(page, name);
        await picture(page, `${path(name).slice(1)}-${theme}-${width}`);
        expect(await sidewaysScroll(page), `the page scrolls sideways at ${width} px`).toBeLessThanOrEqual(0);
        expect(await serious(page), `at ${width} px`).toEqual([]);
      }
    });
  }
}

/** Waits for the page's heading, and for what it asks. */
async function settled(page: Page, name: string) {
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible();
  await expect(page.getByRole('progressbar')).toHaveCount(0);
}

async function serious(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page })
    .withTags(['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa'])
    .analyze();
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, help, nodes }) =>
      nodes.map(({ target, any }) => `${id}: ${help}: ${target} ${any[0]?.message ?? ''}`),
    );
}

const sidewaysScroll = (page: Page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
