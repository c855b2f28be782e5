/** Svelte sources, compiled beside this file so that they find their packages, and removed again. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { compile, compileModule } from 'svelte/compiler';

/**
 * @param {string} name `Component.svelte` or `module.svelte.js`
 * @param {string} source
 * @param {'client' | 'server'} generate
 */
export async function load(name, source, generate) {
  const directory = mkdtempSync(fileURLToPath(new URL('./compiled-', import.meta.url)));
  after(() => rmSync(directory, { recursive: true, force: true }));
  const filename = join(directory, name);
  const { js } = name.endsWith('.svelte') ? compile(source, { filename, generate }) : compileModule(source, { filename, generate });
  const out = `${filename}.mjs`;
  writeFileSync(out, js.code);
  return import(pathToFileURL(out).href);
}
