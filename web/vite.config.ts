import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

/** Where `npm run dev` and `npm run preview` find a server: `netverdict server --demo`. */
const server = process.env.NETVERDICT_URL ?? 'http://127.0.0.1:8480';
const proxy = { '/api': server, '/healthz': server, '/readyz': server, '/metrics': server };

export default defineConfig({
  plugins: [react()],
  server: { proxy },
  preview: { proxy },
  build: { target: 'es2022', assetsInlineLimit: 0, chunkSizeWarningLimit: 1500, manifest: true },
  test: {
    environment: 'jsdom',
    include: ['src/**/*.test.{ts,tsx}'],
    setupFiles: ['src/testing/setup.ts'],
    css: false,
    testTimeout: 60_000,
  },
});
