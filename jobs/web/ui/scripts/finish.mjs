// Checks the sizes of what was built, and writes a .br and a .gz next to each file that compresses.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const KIB = 1024;
// Script as it is sent, gzip: what the first page waits for, and everything but what is loaded on demand by name.
const BUDGETS = { first: 60 * KIB, all: 350 * KIB };
const ON_DEMAND = /opencv/;
const root = new URL('../../static/', import.meta.url).pathname;

const files = readdirSync(root, { recursive: true })
  .map((name) => join(root, name))
  .filter((path) => statSync(path).isFile())
  .sort();
const manifest = JSON.parse(readFileSync(join(root, 'manifest.json'), 'utf8'));
const size = (name) => gzipSync(readFileSync(join(root, name)), { level: 9 }).length;

const first = new Set();
const follow = (key) => {
  if (first.has(key)) return;
  first.add(key);
  (manifest[key].imports ?? []).forEach(follow);
};
Object.keys(manifest).filter((key) => manifest[key].isEntry).forEach(follow);
// What a person sees first after signing in is part of the first page.
follow('src/pages/Overview.svelte');

const scripts = Object.values(manifest).map((each) => each.file).filter((name) => name.endsWith('.js'));
const sum = (names) => [...new Set(names)].reduce((total, name) => total + size(name), 0);
const sizes = {
  first: sum([...first].map((key) => manifest[key].file).filter((name) => name.endsWith('.js'))),
  all: sum(scripts.filter((name) => !ON_DEMAND.test(name))),
};
let failed = false;
for (const [what, most] of Object.entries(BUDGETS)) {
  const line = `script of ${what === 'first' ? 'the first page' : 'all pages'}: ${(sizes[what] / KIB).toFixed(1)} KiB gzip, at most ${most / KIB}`;
  console.log(line);
  if (sizes[what] > most) {
    console.error(`too large: ${line}`);
    failed = true;
  }
}

const digest = createHash('sha256');
for (const path of files) {
  const data = readFileSync(path);
  const name = relative(root, path);
  digest.update(`${name}\0`).update(data);
  if (/\.(js|css)$/.test(name) && !/-[\w-]{8,}\.(js|css)$/.test(name)) {
    console.error(`${name}: expected a name with a hash of its contents`);
    failed = true;
  }
  if (/\.(js|css|html)$/.test(name) && /\b(?:src|href|url\()\s*=?\s*["']?https?:/.test(data.toString('utf8'))) {
    console.error(`${name}: loads something from elsewhere`);
    failed = true;
  }
  if (name === 'index.html' && /<script(?![^>]*\bsrc=)|<style|\sstyle=/.test(data.toString('utf8'))) {
    console.error('index.html: has inline script or style, which the content security policy refuses');
    failed = true;
  }
}
if (failed) process.exit(1);

rmSync(join(root, 'manifest.json'));
for (const path of files.filter((each) => /\.(js|css|html|svg)$/.test(each))) {
  const data = readFileSync(path);
  writeFileSync(`${path}.gz`, gzipSync(data, { level: 9 }));
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: data.length };
  writeFileSync(`${path}.br`, brotliCompressSync(data, { params }));
}
writeFileSync(join(root, 'build.json'), `${JSON.stringify({ build: digest.digest('hex').slice(0, 16), ...sizes })}\n`);
