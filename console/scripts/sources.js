// Writes what the built page was made of: a hash of all sources, which a test of the binary compares.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = new URL('..', import.meta.url).pathname;
const files = ['index.html', 'package-lock.json', 'package.json', 'tsconfig.json', 'vite.config.ts'];
const walk = (folder) => {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) walk(path);
    else files.push(path);
  }
};
walk('public');
walk('scripts');
walk('src');
const hash = createHash('sha256');
for (const file of files.sort()) {
  const bytes = readFileSync(join(root, file));
  hash.update(`${file}\n${bytes.length}\n`).update(bytes);
}
writeFileSync(join(root, 'dist/SOURCES.sha256'), `${hash.digest('hex')}\n`);
