// Builds the page into dist/. Not minified: it is read on this machine only, and builds faster so.
import { defineConfig } from 'vite';

export default defineConfig({
    define: { 'process.env': {}, global: 'globalThis' },
    logLevel: 'error',
    build: { target: 'esnext', minify: false, chunkSizeWarningLimit: 50_000 },
});
