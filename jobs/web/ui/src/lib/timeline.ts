// The timeline of a stream, drawn on one canvas: what was kept and dropped and why, idle intervals, scenes, gaps, and
// curves of measures.

import { lookOf } from './reasons';
import type { Curve, Timeline } from './types';

export const CURVES: readonly { name: Curve; label: string; dash: readonly number[] }[] = [
  { name: 'motion', label: 'motion', dash: [] },
  { name: 'sharpness', label: 'sharpness', dash: [5, 3] },
  { name: 'luma', label: 'luma', dash: [1, 2.5] },
];

/** Heights in CSS pixels, from the top: verdicts, a row of scenes, a row of idle intervals, curves. */
export const ROWS = { verdicts: 34, scenes: 7, idle: 7, curves: 40, gap: 3 } as const;
export const HEIGHT = ROWS.verdicts + ROWS.scenes + ROWS.idle + ROWS.curves + 3 * ROWS.gap;

export const COLOURS = [
  'kept', 'open', 'gap', 'line', 'line-strong', 'text', 'dim', 'panel', 'accent', 'hue-7',
  'curve-motion', 'curve-sharpness', 'curve-luma',
  ...Array.from({ length: 9 }, (_, at) => `hue-${at + 1}`),
];

/** A part of a column: of a bin's frames, those of one verdict or reason. */
export interface Part {
  what: 'kept' | 'undecided' | string;
  from: number;
  to: number;
}

/**
 * How the frames of a bin divide, from 0 to 1. A frame may have several reasons, so that those of a bin can be more than
 * its dropped frames: they share what was dropped in proportion.
 */
export function parts(timeline: Timeline, bin: number): Part[] {
  const frames = timeline.frames[bin] ?? 0;
  if (frames <= 0) return [];
  const kept = Math.min(timeline.kept[bin] ?? 0, frames);
  const counted = Object.entries(timeline.reasons)
    .map(([reason, counts]) => [reason, counts[bin] ?? 0] as const)
    .filter(([, n]) => n > 0);
  const sum = counted.reduce((total, [, n]) => total + n, 0);
  const dropped = Math.min(sum, frames - kept);
  const found: Part[] = [];
  let at = 0;
  const add = (what: string, size: number): void => {
    if (size <= 0) return;
    found.push({ what, from: at / frames, to: (at + size) / frames });
    at += size;
  };
  add('kept', kept);
  for (const [reason, n] of counted) add(reason, (dropped * n) / sum);
  add('undecided', frames - kept - dropped);
  return found;
}

/** What a bin shows, in words: for the line under the timeline, and for people who do not see it. */
export function inWords(timeline: Timeline, bin: number): string {
  const frames = timeline.frames[bin] ?? 0;
  const at = timeline.at[bin];
  if (frames === 0 || at === null || at === undefined) return inside(timeline.gaps, bin) ? 'gap: no frames' : 'no frames';
  const kept = timeline.kept[bin] ?? 0;
  const said = [`frame ${at}`];
  if (frames === 1) {
    const reasons = Object.entries(timeline.reasons).filter(([, counts]) => (counts[bin] ?? 0) > 0).map(([name]) => name);
    said.push(kept > 0 ? 'kept' : reasons.length > 0 ? `dropped: ${reasons.map((each) => lookOf(each).label).join(', ')}` : 'not decided');
  } else {
    said.push(`${kept} of ${frames} kept`);
    for (const [reason, counts] of Object.entries(timeline.reasons)) {
      if ((counts[bin] ?? 0) > 0) said.push(`${counts[bin]} ${lookOf(reason).label}`);
    }
  }
  if (inside(timeline.idle, bin)) said.push('in an idle interval');
  const scene = timeline.scenes.findIndex(([from, to]) => bin + 0.5 >= from && bin + 0.5 < to);
  if (scene >= 0) said.push(`scene ${scene + 1}`);
  for (const { name, label } of CURVES) {
    const value = timeline.curves[name]?.[bin];
    if (value !== null && value !== undefined) said.push(`${label} ${Number(value.toPrecision(3))}`);
  }
  return said.join(' · ');
}

const inside = (intervals: readonly (readonly [number, number])[], bin: number): boolean =>
  intervals.some(([from, to]) => bin + 1 > from && bin < to);

/** The bin at a share of the width, from 0 to 1; null where there are none. */
export function binAt(timeline: Timeline, share: number): number | null {
  if (timeline.bins === 0) return null;
  return Math.min(timeline.bins - 1, Math.max(0, Math.floor(share * timeline.bins)));
}

/** The next bin with a frame in a direction, or the same one. */
export function nextBin(timeline: Timeline, bin: number, by: number): number {
  const step = Math.sign(by);
  let to = Math.min(timeline.bins - 1, Math.max(0, bin + by));
  while (to >= 0 && to < timeline.bins && (timeline.at[to] ?? null) === null) to += step;
  return to >= 0 && to < timeline.bins ? to : bin;
}

/** The range of a curve: its smallest and largest value, with room where all are equal. */
export function range(values: readonly (number | null)[]): [number, number] | null {
  let least = Infinity;
  let most = -Infinity;
  for (const value of values) {
    if (value === null || !Number.isFinite(value)) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  if (least > most) return null;
  return least === most ? [least - 0.5, most + 0.5] : [least, most];
}

type Paint = Record<string, string>;

/** Draw a timeline. The canvas has its size in device pixels already; `width` is in CSS pixels. */
export function draw(context: CanvasRenderingContext2D, timeline: Timeline, width: number, paint: Paint): void {
  context.clearRect(0, 0, width, HEIGHT);
  const step = width / timeline.bins;
  const x = (bin: number): number => bin * step;
  drawVerdicts(context, timeline, x, paint);
  let top = ROWS.verdicts + ROWS.gap;
  drawScenes(context, timeline, x, top, paint);
  top += ROWS.scenes + ROWS.gap;
  drawIdle(context, timeline, x, top, paint);
  top += ROWS.idle + ROWS.gap;
  drawCurves(context, timeline, x, top, paint);
  drawGaps(context, timeline, x, paint);
}

type X = (bin: number) => number;

function drawVerdicts(context: CanvasRenderingContext2D, timeline: Timeline, x: X, paint: Paint): void {
  const patterns = new Map<string, CanvasPattern | string>();
  const fill = (what: string): CanvasPattern | string => {
    let found = patterns.get(what);
    if (found === undefined) {
      found = what === 'kept' ? (paint.kept ?? '') : what === 'undecided' ? (paint.open ?? '')
        : hatched(context, paint[`hue-${lookOf(what).hue}`] ?? '', paint.panel ?? '', lookOf(what).hue);
      patterns.set(what, found);
    }
    return found;
  };
  for (let bin = 0; bin < timeline.bins; bin += 1) {
    // Columns touch: each begins where the one before it ends, on whole pixels.
    const left = Math.floor(x(bin));
    const right = Math.max(left + 1, Math.floor(x(bin + 1)));
    for (const part of parts(timeline, bin)) {
      context.fillStyle = fill(part.what);
      const low = ROWS.verdicts * (1 - part.from);
      const high = ROWS.verdicts * (1 - part.to);
      context.fillRect(left, high, right - left, low - high);
    }
  }
}

/** A pattern of lines: each reason has its own slope and distance. */
function hatched(context: CanvasRenderingContext2D, colour: string, ground: string, kind: number): CanvasPattern | string {
  const size = 4 + (kind % 3) * 2;
  const tile = document.createElement('canvas');
  tile.width = size;
  tile.height = size;
  const brush = tile.getContext('2d');
  if (!brush) return colour;
  brush.fillStyle = colour;
  brush.fillRect(0, 0, size, size);
  brush.strokeStyle = ground;
  brush.globalAlpha = 0.7;
  brush.lineWidth = 1;
  brush.beginPath();
  const slope = Math.floor((kind - 1) / 3);
  if (slope === 0) {
    brush.moveTo(0, size / 2);
    brush.lineTo(size, size / 2);
  } else {
    const [from, to] = slope === 1 ? [size, 0] : [0, size];
    for (const shift of [-size, 0, size]) {
      brush.moveTo(shift, from);
      brush.lineTo(shift + size, to);
    }
  }
  brush.stroke();
  return context.createPattern(tile, 'repeat') ?? colour;
}

function drawScenes(context: CanvasRenderingContext2D, timeline: Timeline, x: X, top: number, paint: Paint): void {
  timeline.scenes.forEach(([from, to], at) => {
    context.fillStyle = (at % 2 ? paint.dim : paint['line-strong']) ?? '';
    context.globalAlpha = at % 2 ? 0.75 : 0.45;
    context.fillRect(x(from), top, Math.max(1, x(to) - x(from)), ROWS.scenes);
    context.globalAlpha = 1;
    context.fillStyle = paint.text ?? '';
    context.fillRect(Math.round(x(from)), top - 1, 1, ROWS.scenes + 2);
  });
}

function drawIdle(context: CanvasRenderingContext2D, timeline: Timeline, x: X, top: number, paint: Paint): void {
  context.fillStyle = hatched(context, paint['hue-7'] ?? '', paint.panel ?? '', 7);
  for (const [from, to] of timeline.idle) context.fillRect(x(from), top, Math.max(1, x(to) - x(from)), ROWS.idle);
}

function drawCurves(context: CanvasRenderingContext2D, timeline: Timeline, x: X, top: number, paint: Paint): void {
  context.fillStyle = paint.line ?? '';
  context.fillRect(0, top + ROWS.curves - 0.5, x(timeline.bins), 0.5);
  for (const { name, dash } of CURVES) {
    const values = timeline.curves[name];
    const limits = values && range(values);
    if (!values || !limits) continue;
    const [least, most] = limits;
    context.strokeStyle = paint[`curve-${name}`] ?? '';
    context.lineWidth = 1.2;
    context.setLineDash([...dash]);
    context.beginPath();
    let open = false;
    values.forEach((value, bin) => {
      if (value === null || !Number.isFinite(value)) {
        // Absent within a gap of the stream or between sparse bins: the curve is broken only where frames are missing.
        if ((timeline.frames[bin] ?? 0) === 0 && inside(timeline.gaps, bin)) open = false;
        return;
      }
      const y = top + 2 + (ROWS.curves - 4) * (1 - (value - least) / (most - least));
      if (open) context.lineTo(x(bin + 0.5), y);
      else context.moveTo(x(bin + 0.5), y);
      open = true;
    });
    context.stroke();
  }
  context.setLineDash([]);
}

function drawGaps(context: CanvasRenderingContext2D, timeline: Timeline, x: X, paint: Paint): void {
  for (const [from, to] of timeline.gaps) {
    const left = x(from);
    const width = Math.max(2, x(to) - left);
    context.fillStyle = paint.panel ?? '';
    context.fillRect(left, 0, width, HEIGHT);
    context.fillStyle = hatched(context, paint.panel ?? '', paint.gap ?? '', 8);
    context.fillRect(left, 0, width, HEIGHT);
  }
}
