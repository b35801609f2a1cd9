import { expect, picture, test } from './console';

test('Overview: who is denied most, and why', async ({ page }) => {
  await page.goto('/overview');
  await expect(page.getByText('Verdicts over time')).toBeVisible();
  const denied = page.locator('article, section, .pf-v6-c-card').filter({ hasText: 'Denied most' }).last();
  await denied.getByRole('link', { name: 'Explain' }).first().click();
  await expect(page.getByRole('heading', { level: 1, name: 'Explain' })).toBeVisible();
  await expect(
    page
      .getByText('What came closest')
      .or(page.getByText(/Dropped by/))
      .first(),
  ).toBeVisible();
});

test('Topology: what is denied stands first, and names its policies', async ({ page }) => {
  await page.goto('/topology');
  const first = page.getByRole('list', { name: 'Pairs' }).getByRole('button').first();
  await expect(first).toHaveAccessibleName(/shop to data, dropped/i);
  await first.click();
  await expect(page.getByRole('heading', { name: 'Policies that decided' })).toBeVisible();
  await expect(page.getByText(/isolation in namespace data|allow-catalog|data/).first()).toBeVisible();
  await picture(page, 'topology-pair');
});

test('Policies: what the rule of the catalogue says, line by line', async ({ page }) => {
  await page.goto('/policies');
  await page.getByLabel('Find by kind, namespace or name').fill('allow-catalog');
  await page.getByText('allow-catalog').first().click();
  await expect(page.getByText('As it is written')).toBeVisible();
  await expect(page.getByText('port: 9300')).toBeVisible();
  await picture(page, 'policies-catalog');
});

test('Explain: two ends and a port', async ({ page }) => {
  await page.goto('/explain');
  await page.getByLabel('From').fill('shop/catalog-0');
  await page.getByLabel('To', { exact: true }).fill('svc/data/search');
  await page.getByLabel('Port').fill('9200/tcp');
  await page.getByRole('button', { name: 'Explain', exact: true }).click();
  await expect(page.getByText(/the rule is for port 9300, not 9200/).first()).toBeVisible();
  await expect(page).toHaveURL(/from=.*to=.*port=/);
  await picture(page, 'explain');
});
