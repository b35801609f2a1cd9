import { expect, picture, test, type Locator, type Page } from './console';

const QUERY = 'src.pod=shop/catalog-0 and dst.port=9200 and verdict=dropped';

test('why the catalogue does not reach the search, and that the fix mends it', async ({ page }) => {
  await page.goto('/');
  await page.getByRole('link', { name: 'Traffic' }).click();
  await ask(page, QUERY);
  await asked(page);
  await page.getByTestId('row').first().click();

  const drawer = page.getByTestId('drawer');
  await expect(drawer.getByText(/Dropped by network policies isolation in namespace data/).first()).toBeVisible();
  await expect(drawer.getByText(/the rule is for port 9300, not 9200/).first()).toBeVisible();
  await expect(drawer.getByText(/It opens nothing else/)).toBeVisible();
  await picture(page, 'mistake-why');
  await drawer.getByRole('button', { name: 'Put the fix into What if' }).click();

  await expect(page.getByRole('heading', { level: 1, name: 'What if' })).toBeVisible();
  await page.getByRole('button', { name: 'Try it' }).click();
  await mended(page);
  await picture(page, 'mistake-mended');
});

test('the same by keyboard only', async ({ page }) => {
  const keys = page.keyboard;
  await page.goto('/');
  await expect(page.getByRole('heading', { level: 1, name: 'Traffic' })).toBeVisible();
  await keys.press('/');
  await expect(page.getByRole('combobox', { name: 'Query' })).toBeFocused();
  await keys.type(QUERY);
  await keys.press('Enter');
  await keys.press('Escape');
  await asked(page);
  await keys.press('j');
  await expect(page.getByTestId('row').first()).toBeFocused();
  await keys.press('Enter');
  const fix = page.getByTestId('drawer').getByRole('button', { name: 'Put the fix into What if' });
  await expect(fix).toBeVisible();
  await tabTo(page, fix);
  await keys.press('Enter');
  await expect(page.getByRole('heading', { level: 1, name: 'What if' })).toBeVisible();
  await tabTo(page, page.getByRole('button', { name: 'Try it' }));
  await keys.press('Enter');
  await mended(page);
  await keys.press('g');
  await keys.press('h');
  await expect(page.getByRole('heading', { level: 1, name: 'Health' })).toBeVisible();
});

test('What if the policy with the mistake were gone', async ({ page }) => {
  await page.goto('/policies?policy=NetworkPolicy/data/allow-catalog');
  await page.getByRole('link', { name: 'What if it were gone?' }).click();
  await expect(page.getByText('NetworkPolicy/data/allow-catalog')).toBeVisible();
  await page.getByRole('button', { name: 'Try it' }).click();
  await mended(page);
  await picture(page, 'whatif-gone');
});

/** Asks a query by hand. */
async function ask(page: Page, query: string) {
  const bar = page.getByRole('combobox', { name: 'Query' });
  await bar.fill(query);
  await bar.press('Enter');
}

/** Waits until only what was asked for is in the table. */
async function asked(page: Page) {
  await expect(page).toHaveURL(/q=/);
  await expect(page.getByTestId('row').filter({ hasText: 'data/search-0' }).first()).toBeVisible();
  await expect(page.getByTestId('row').filter({ hasNotText: 'data/search-0' })).toHaveCount(0);
}

/** Goes on with Tab until something has the focus. */
async function tabTo(page: Page, there: Locator) {
  for (let tabs = 0; tabs < 200 && !(await there.evaluate((it) => it === document.activeElement)); tabs++) {
    await page.keyboard.press('Tab');
  }
  await expect(there).toBeFocused();
}

/** What if shows that the connection would be allowed. */
async function mended(page: Page) {
  const allowed = page.getByRole('grid', { name: 'Would be allowed' });
  await expect(allowed.getByText(/shop\/catalog-0 → data\/search-0/)).toBeVisible();
  await expect(page.getByRole('grid', { name: 'Would be dropped' })).toHaveCount(0);
}
