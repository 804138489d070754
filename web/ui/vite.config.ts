/// <reference types="vitest/config" />
// How the page is built: into dist/site, with every file compressed beside it; web/build.rs takes it from there.
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';
import { compressed } from './build/compressed.ts';
import { mantineVariables } from './build/mantineVariables.ts';

export default defineConfig({
  plugins: [react(), mantineVariables(), compressed()],
  build: {
    outDir: 'dist/site',
    emptyOutDir: true,
    // Inlined files would be data: URLs, which the page's Content-Security-Policy forbids for fonts and scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
    chunkSizeWarningLimit: 900,
  },
  server: { proxy: { '/api': 'http://127.0.0.1:8480' } },
  test: { include: ['src/**/*.test.ts', 'build/**/*.test.ts'], environment: 'node' },
});
