// Measures one way on one scene: milliseconds from the beginning of what is done until it is on the screen, or, where
// the way draws on canvases, rasterised.

import { Konvas } from './konvas';
import { Own } from './own';
import { COLOURS, FRAME, polygons, STAGE, type View, type Way } from './scenes';
import { Svg } from './svg';

export interface Measured {
  [what: string]: { p50: number; p95: number; n: number };
}

const WAYS: Record<string, (stage: HTMLElement) => Way> = {
  winnow: (stage) => new Own(stage),
  svg: (stage) => new Svg(stage),
  konva: (stage) => new Konvas(stage),
};

const nextFrame = (): Promise<number> => new Promise((resolve) => requestAnimationFrame(resolve));
const task = (): Promise<void> => new Promise((resolve) => {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => resolve();
  channel.port2.postMessage(0);
});

function summary(values: number[]): { p50: number; p95: number; n: number } {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { p50: at(0.5), p95: at(0.95), n: values.length };
}

async function run(name: string, count: number, corners: number, rounds: number): Promise<Measured> {
  const stage = document.getElementById('stage') as HTMLElement;
  Object.assign(stage.style, { position: 'relative', width: `${STAGE.width}px`, height: `${STAGE.height}px`, overflow: 'hidden', background: '#222' });
  const scene = polygons(count, corners);
  const way = (WAYS[name] as (stage: HTMLElement) => Way)(stage);
  const fit: View = { scale: STAGE.width / FRAME.width, left: 0, top: (STAGE.height - (FRAME.height * STAGE.width) / FRAME.width) / 2 };
  const close: View = { scale: fit.scale * 6, left: -2400, top: -1200 };
  const found: Measured = {};

  /** One thing done, until the frame that shows it is made: styles, layout and what is painted count. */
  const one = async (act: () => void): Promise<number> => {
    await nextFrame();
    const begin = performance.now();
    act();
    // What is drawn by a frame of the screen is drawn in it.
    await nextFrame();
    way.flush();
    await task();
    return performance.now() - begin;
  };
  /** Milliseconds of processor time of script and of canvases that are rasterised, without the wait for the screen. */
  const busy = async (act: () => void): Promise<number> => {
    await nextFrame();
    await task();
    const begin = performance.now();
    act();
    const script = performance.now() - begin;
    const asked = await new Promise<number>((resolve) => requestAnimationFrame(() => {
      const start = performance.now();
      way.flush();
      resolve(performance.now() - start);
    }));
    return script + asked;
  };
  const many = async (what: string, how: typeof one, act: (n: number) => void): Promise<void> => {
    const values: number[] = [];
    for (let n = 0; n < rounds; n += 1) values.push(await how(() => act(n)));
    found[what] = summary(values);
  };

  await nextFrame();
  const begin = performance.now();
  way.open(scene, fit);
  way.flush();
  await nextFrame();
  await task();
  found.open = summary([performance.now() - begin]);

  const moving = (base: View) => (n: number): void => way.look({ scale: base.scale * (1 + 0.01 * (n % 10)), left: base.left - 9 * (n % 20), top: base.top - 6 * (n % 20) });
  await many('move, all in sight', one, moving(fit));
  await many('redraw, all in sight', one, (n) => { moving(fit)(n); way.rest(); });
  if (way.name !== 'svg') await many('redraw, all in sight, busy', busy, (n) => { moving(fit)(n); way.rest(); });
  way.look(close);
  way.rest();
  await many('move, zoomed', one, moving(close));
  await many('redraw, zoomed', one, (n) => { moving(close)(n); way.rest(); });
  if (way.name !== 'svg') await many('redraw, zoomed, busy', busy, (n) => { moving(close)(n); way.rest(); });
  way.look(fit);
  way.rest();
  await nextFrame();
  const idOf = (n: number): string => `polygon-${(n * 97) % count}`;
  const hows: [string, typeof one][] = way.name === 'svg' ? [['', one]] : [['', one], [', busy', busy]];
  for (const [suffix, how] of hows) {
    await many(`select${suffix}`, how, (n) => way.select(idOf(n)));
    const dragged = idOf(3);
    await many(`drag${suffix}`, how, (n) => way.drag(dragged, 3 * (n % 30), 2 * (n % 30)));
    way.drop(dragged);
    await many(`relabel${suffix}`, how, (n) => way.relabel(idOf(n), `category-${(n + 1) % COLOURS.length}`));
  }
  way.close();
  return found;
}

Object.assign(globalThis, { run });
