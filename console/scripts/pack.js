// Packs the built page: the binary holds what browsers are sent. In plain JavaScript, because zlib's output differs
// between versions and processors, and the same sources have to give the same bytes everywhere. pako's header has no time
// and no name.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzip } from 'pako';

const dist = join(new URL('..', import.meta.url).pathname, 'dist');
for (const name of readdirSync(dist)) {
  const path = join(dist, name);
  writeFileSync(`${path}.gz`, gzip(readFileSync(path), { level: 9 }));
  rmSync(path);
}
