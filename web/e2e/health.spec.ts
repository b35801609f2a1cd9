import { expect, test } from './console';

test('how nodes are sampled, and what doctor finds', async ({ page }) => {
  await page.goto('/');
  await page.getByRole('link', { name: 'Health' }).click();
  const zones = page.getByRole('grid', { name: 'Nodes and their sampling' });
  for (const name of ['worker-1', 'worker-2', 'worker-3']) {
    await expect(zones.getByRole('row', { name })).toContainText('39 of 41');
  }
  const findings = page.getByRole('grid', { name: "Doctor's findings" });
  await expect(findings.getByText('the databases are dumps')).toHaveCount(0);
  await page.getByText('Show what is as it should be').click();
  await expect(findings.getByText('the databases are dumps')).toBeVisible();
  await page.getByRole('button', { name: 'From samples to verdicts' }).click();
  const counters = page.getByRole('grid', { name: /^decisions/ });
  await expect(counters.getByRole('row', { name: /Samples whose policy was not found/ })).toContainText(' 0 ');
});
