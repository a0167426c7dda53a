import { svelte } from '@sveltejs/vite-plugin-svelte';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig, type Plugin } from 'vite';

/** Writes whose code the page holds, and under which licences. */
function licences(): Plugin {
  return {
    name: 'licences',
    generateBundle(_, bundle) {
      const packages = new Set<string>();
      for (const file of Object.values(bundle))
        if (file.type === 'chunk')
          for (const id of Object.keys(file.modules)) {
            const found = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id);
            if (found && !id.startsWith('\0vite')) packages.add(found[1]!);
          }
      const texts = [...packages].sort().map((name) => {
        const folder = join(import.meta.dirname, 'node_modules', name);
        const about = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
        const file = readdirSync(folder).find((it) => /^licen[cs]e/i.test(it));
        const text = file && existsSync(join(folder, file)) ? readFileSync(join(folder, file), 'utf8').trim() : '';
        return `${name} ${about.version}: ${about.license}\n\n${text}\n`;
      });
      this.emitFile({ type: 'asset', fileName: 'licences.txt', source: texts.join(`\n${'-'.repeat(80)}\n\n`) });
    },
  };
}

// Few files with stable names: the built page is committed, and its changes are read.
export default defineConfig({
  base: '/console/',
  plugins: [svelte(), licences()],
  build: {
    target: 'es2022',
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    rolldownOptions: {
      input: { operate: 'index.html' },
      output: {
        entryFileNames: '[name].js',
        chunkFileNames: '[name].js',
        assetFileNames: 'app.[ext]',
        codeSplitting: {
          groups: [
            {
              name: 'shared',
              test: /node_modules[\\/](svelte|esm-env|clsx)[\\/]|src[\\/]view[\\/](Trace|Graph|Payload|Diff|Timeline|graph|trace|pretty|timeline|diff)|preload-helper|src[\\/]backend[\\/](http|sign)/,
              priority: 10,
            },
            { name: 'studio', test: /@codemirror|@lezer|@marijn|crelt|style-mod|w3c-keyname|pages[\\/](Studio|More|Change)|view[\\/](editor|complete|bill|states)|backend[\\/]drafts/ },
          ],
        },
      },
    },
  },
});
