import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export default {
  root: here('.'),
  resolve: { alias: { '@pages': here('../../../jobs/web/ui/src'), konva: here('./node_modules/konva') } },
  build: { outDir: process.env.WINNOW_BENCH_OUT, emptyOutDir: true, target: 'chrome123' },
};
