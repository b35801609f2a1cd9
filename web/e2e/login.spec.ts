import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, picture, test } from './console';
import { serve, type Running } from './server';

const TOKEN = 'the-token-of-anna-in-a-test';
const directory = mkdtempSync(join(tmpdir(), 'netverdict-login-'));
let server: Running;

test.beforeAll(async () => {
  const [tokens, config] = [join(directory, 'tokens.toml'), join(directory, 'config.toml')];
  writeFileSync(tokens, `[[token]]\ntoken = "${TOKEN}"\nsubject = "anna"\n`, { mode: 0o600 });
  writeFileSync(config, `[access]\ntokens = "${tokens}"\n`);
  server = await serve('--config', config);
});
test.afterAll(async () => {
  await server.stop();
  rmSync(directory, { recursive: true });
});

test.use({ expected: [/401/] });

test('nothing is told without a token, and everything with one', async ({ page }) => {
  await page.goto(`${server.url}/health`);
  await expect(page.getByRole('heading', { name: 'Who are you?' })).toBeVisible();
  await picture(page, 'login');
  const token = page.getByLabel('Token');
  await token.fill('what somebody else has');
  await token.press('Enter');
  await expect(page.getByText('The server does not know this token.')).toBeVisible();
  await token.fill(TOKEN);
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('heading', { name: 'Nodes and their sampling' })).toBeVisible();
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Nodes and their sampling' })).toBeVisible();
});
