// How a frame is displayed: a scale, and where its upper left corner is, in CSS pixels of the canvas.

import type { Size } from '../lib/overlay';
import type { Bounds, Point } from './shapes';

export interface View {
  /** CSS pixels per pixel of the frame. */
  scale: number;
  left: number;
  top: number;
}

export const [LEAST_SCALE, MOST_SCALE] = [0.02, 64];
const MARGIN = 8;
/** So much of a frame stays in sight, wherever it is moved. */
const KEPT_IN_SIGHT = 48;

export const toScreen = (view: View, [x, y]: Point): Point => [view.left + x * view.scale, view.top + y * view.scale];
export const toFrame = (view: View, [x, y]: Point): Point => [(x - view.left) / view.scale, (y - view.top) / view.scale];

/** The view in which all of a frame is seen. */
export const whole = (frame: Size, canvas: Size): View =>
  around({ left: 0, top: 0, right: frame.width, bottom: frame.height }, canvas, MARGIN);

/** The view in which a part of a frame is seen, with a margin in CSS pixels. */
export function around(part: Bounds, canvas: Size, margin: number): View {
  const [width, height] = [Math.max(1e-6, part.right - part.left), Math.max(1e-6, part.bottom - part.top)];
  const room = (size: number): number => Math.max(1, size - 2 * margin);
  const scale = limited(Math.min(room(canvas.width) / width, room(canvas.height) / height));
  return {
    scale,
    left: (canvas.width - (part.left + part.right) * scale) / 2,
    top: (canvas.height - (part.top + part.bottom) * scale) / 2,
  };
}

export const limited = (scale: number): number => Math.min(MOST_SCALE, Math.max(LEAST_SCALE, scale));

/** A view zoomed by a factor; what is under a point of the canvas stays there. */
export function zoomed(view: View, factor: number, [x, y]: Point): View {
  const scale = limited(view.scale * factor);
  const real = scale / view.scale;
  return { scale, left: x - (x - view.left) * real, top: y - (y - view.top) * real };
}

export function panned(view: View, dx: number, dy: number, frame: Size, canvas: Size): View {
  const within = (at: number, size: number, room: number): number =>
    Math.min(room - KEPT_IN_SIGHT, Math.max(KEPT_IN_SIGHT - size * view.scale, at));
  return {
    scale: view.scale,
    left: within(view.left + dx, frame.width, canvas.width),
    top: within(view.top + dy, frame.height, canvas.height),
  };
}

/** The part of a frame that is seen, in its pixels. */
export function seen(view: View, canvas: Size): Bounds {
  const [left, top] = toFrame(view, [0, 0]);
  const [right, bottom] = toFrame(view, [canvas.width, canvas.height]);
  return { left, top, right, bottom };
}

/** The view of the next frame: the same, where both are of one size; else the same share of it. */
export function kept(view: View, before: Size, after: Size, canvas: Size): View {
  if (before.width === after.width && before.height === after.height) return view;
  const was = whole(before, canvas);
  const is = whole(after, canvas);
  if (Math.abs(view.scale - was.scale) < 1e-9) return is;
  const [x, y] = toFrame(view, [canvas.width / 2, canvas.height / 2]);
  const scale = limited((view.scale / was.scale) * is.scale);
  return {
    scale,
    left: canvas.width / 2 - (x / before.width) * after.width * scale,
    top: canvas.height / 2 - (y / before.height) * after.height * scale,
  };
}

/** How a layer that was drawn in one view is moved and scaled to where it is in another, as a CSS transform. */
export function transformBetween(drawn: View, now: View): string {
  const scale = now.scale / drawn.scale;
  if (scale === 1 && drawn.left === now.left && drawn.top === now.top) return 'none';
  return `matrix(${scale}, 0, 0, ${scale}, ${now.left - drawn.left * scale}, ${now.top - drawn.top * scale})`;
}
