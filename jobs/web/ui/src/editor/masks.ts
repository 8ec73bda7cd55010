// Masks: bitmaps that a brush paints on, and COCO's run lengths, which are stored (`transforms/formats/coco_rle.py`).

import type { Size } from '../lib/overlay';
import type { Bounds, Point } from './shapes';

export type Counts = readonly number[];

interface Summary {
  area: number;
  bounds: Bounds;
  /** Where each run ends, in pixels of the whole mask. */
  ends: Float64Array;
}

// Counts are values that never change, so what is derived of them is computed once.
const summaries = new WeakMap<Counts, Summary>();

function summary(counts: Counts, size: Size): Summary {
  const known = summaries.get(counts);
  if (known) return known;
  const bounds: Bounds = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  const ends = new Float64Array(counts.length);
  let [area, at] = [0, 0];
  counts.forEach((count, run) => {
    const end = at + count;
    ends[run] = end;
    if (run % 2 === 1 && count > 0) {
      area += count;
      const first = Math.floor(at / size.height);
      const last = Math.floor((end - 1) / size.height);
      bounds.left = Math.min(bounds.left, first);
      bounds.right = Math.max(bounds.right, last + 1);
      bounds.top = Math.min(bounds.top, first === last ? at % size.height : 0);
      bounds.bottom = Math.max(bounds.bottom, first === last ? ((end - 1) % size.height) + 1 : size.height);
    }
    at = end;
  });
  const found = { area, bounds, ends };
  summaries.set(counts, found);
  return found;
}

export const areaOf = (counts: Counts): number => counts.reduce((sum, count, run) => sum + (run % 2 ? count : 0), 0);

/** The upright box around the pixels of a mask; of infinite negative size for an empty one. */
export const boundsOf = (counts: Counts, size: Size): Bounds => summary(counts, size).bounds;

export function hasPixel(counts: Counts, size: Size, x: number, y: number): boolean {
  if (x < 0 || y < 0 || x >= size.width || y >= size.height) return false;
  const { ends } = summary(counts, size);
  const at = x * size.height + y;
  let [low, high] = [0, ends.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ends[middle] as number) > at) high = middle;
    else low = middle + 1;
  }
  return low % 2 === 1;
}

/** A mask of a frame as one byte per pixel, column by column as run lengths are. */
export class Bitmap {
  readonly pixels: Uint8Array;

  constructor(readonly size: Size, counts: Counts = []) {
    this.pixels = new Uint8Array(size.width * size.height);
    let at = 0;
    counts.forEach((count, run) => {
      if (run % 2) this.pixels.fill(1, at, at + count);
      at += count;
    });
  }

  /** Set the pixels whose centres are within a radius of the line between two points; returns where it painted. */
  stroke(from: Point, to: Point, radius: number, value: 0 | 1): Bounds {
    const { width, height } = this.size;
    const left = Math.max(0, Math.floor(Math.min(from[0], to[0]) - radius));
    const right = Math.min(width, Math.ceil(Math.max(from[0], to[0]) + radius));
    const top = Math.max(0, Math.floor(Math.min(from[1], to[1]) - radius));
    const bottom = Math.min(height, Math.ceil(Math.max(from[1], to[1]) + radius));
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    const length = dx * dx + dy * dy;
    const most = radius * radius;
    for (let x = left; x < right; x += 1) {
      const px = x + 0.5 - from[0];
      for (let y = top; y < bottom; y += 1) {
        const py = y + 0.5 - from[1];
        const along = length === 0 ? 0 : Math.max(0, Math.min(1, (px * dx + py * dy) / length));
        const [ox, oy] = [px - along * dx, py - along * dy];
        if (ox * ox + oy * oy <= most) this.pixels[x * height + y] = value;
      }
    }
    return { left, top, right, bottom };
  }

  counts(): number[] {
    const found: number[] = [];
    const { pixels } = this;
    let value = 0;
    let start = 0;
    while (start < pixels.length) {
      let end = pixels.indexOf(value ? 0 : 1, start);
      if (end < 0) end = pixels.length;
      found.push(end - start);
      start = end;
      value = value ? 0 : 1;
    }
    return found;
  }
}

/** COCO's compressed text of run lengths, as `compressed` of transforms/formats/coco_rle.py. */
export function compressed(counts: Counts): string {
  let text = '';
  counts.forEach((count, at) => {
    let left = at > 2 ? count - (counts[at - 2] as number) : count;
    for (let more = true; more; ) {
      let digit = left & 0x1f;
      left >>= 5;
      more = digit & 0x10 ? left !== -1 : left !== 0;
      if (more) digit |= 0x20;
      text += String.fromCharCode(digit + 48);
    }
  });
  return text;
}

/** The run lengths of COCO's compressed text. Throws for a text that is none. */
export function decompressed(text: string): number[] {
  const counts: number[] = [];
  for (let at = 0; at < text.length; ) {
    let [value, place, more] = [0, 0, true];
    while (more) {
      const code = text.charCodeAt(at) - 48;
      if (!(code >= 0 && code < 64) || place > 6) throw new Error(`expected COCO's compressed run lengths, found ${text.slice(0, 40)}`);
      value |= (code & 0x1f) << (5 * place);
      more = (code & 0x20) !== 0;
      at += 1;
      place += 1;
      if (!more && code & 0x10) value |= -1 << (5 * place);
    }
    counts.push(counts.length > 2 ? value + (counts[counts.length - 2] as number) : value);
  }
  return counts;
}

/** Where each column's runs of a mask are, as upright boxes of one pixel's width: what is filled to draw it. */
export function columnsOf(counts: Counts, size: Size, draw: (x: number, y: number, h: number) => void): void {
  let at = 0;
  counts.forEach((count, run) => {
    if (run % 2 && count > 0) {
      for (let start = at; start < at + count; ) {
        const x = Math.floor(start / size.height);
        const end = Math.min(at + count, (x + 1) * size.height);
        draw(x, start - x * size.height, end - start);
        start = end;
      }
    }
    at += count;
  });
}
