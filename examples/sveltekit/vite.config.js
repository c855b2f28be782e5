import { sveltekit } from '@sveltejs/kit/vite';
import { defineConfig } from 'vite';

const parlor = process.env.PARLOR_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [sveltekit()],
  // While developing, the chat server is at the page's own address, as it is in production behind the proxy. The Host header stays
  // the page's (no changeOrigin): Parlor lets pages of its own address connect.
  server: { proxy: { '/ws': { target: parlor, ws: true } } },
  preview: { proxy: { '/ws': { target: parlor, ws: true } } },
  // Its worker is found beside the module that starts it; a pre-bundled copy would look in the wrong place.
  optimizeDeps: { exclude: ['parlor-chat'] },
});
