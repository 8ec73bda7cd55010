// Checks what no compiler does: what the sources and the lock file may not say.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const root = new URL('../', import.meta.url).pathname;
const rules = [
  [/^(?!.*\.(test\.ts|mjs)$).*\.(svelte|ts|css|html)$/, /https?:\/\/(?!127\.0\.0\.1|www\.w3\.org)/, 'names an address elsewhere'],
  [/\.(svelte|html)$/, /\sstyle=/, 'has a style attribute, which the content security policy refuses: use `style:`'],
  [/\.svelte$/, /\{@html\b/, 'writes markup of a text'],
  [/\.(svelte|ts)$/, /\b(localStorage|sessionStorage)\b(?!.*\b(preference|draft)\b)/, 'stores something in the browser that is neither a preference nor a draft'],
  [/^package-lock\.json$/, /"resolved"|registry\.|npmmirror|artifactory|verdaccio/i, 'names where a package came from'],
  [/^(\.npmrc|package\.json|vite\.config\.ts)$/, /registry(?!-resolved)/, 'names a registry'],
];
const names = readdirSync(root, { recursive: true }).filter(
  (name) => !name.startsWith('node_modules') && statSync(join(root, name)).isFile(),
);
let failed = false;
for (const name of names) {
  const lines = readFileSync(join(root, name), 'utf8').split('\n');
  for (const [which, pattern, problem] of rules) {
    if (!which.test(name)) continue;
    lines.forEach((line, at) => {
      if (!pattern.test(line)) return;
      console.error(`${name}:${at + 1}: ${problem}: ${line.trim()}`);
      failed = true;
    });
  }
}
process.exit(failed ? 1 : 0);
