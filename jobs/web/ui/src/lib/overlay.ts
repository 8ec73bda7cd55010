// Boxes and masks of a frame, drawn on a canvas that is as large as the image is shown, never as large as the frame.

import type { FrameObject } from './types';

export interface Size {
  width: number;
  height: number;
}

/** Where an image is within a box that it fits into whole: its scale, and its top left corner. */
export function fit(image: Size, box: Size): { scale: number; left: number; top: number } {
  if (image.width <= 0 || image.height <= 0) return { scale: 0, left: 0, top: 0 };
  const scale = Math.min(box.width / image.width, box.height / image.height);
  return { scale, left: (box.width - image.width * scale) / 2, top: (box.height - image.height * scale) / 2 };
}

/** One of nine colours, the same for a category wherever it is shown. */
export function hueOf(category: string): number {
  let hash = 7;
  for (const letter of category) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) % 9973;
  return 1 + (hash % 9);
}

export interface Shown {
  boxes: boolean;
  masks: boolean;
  labels: boolean;
}

type Paint = Record<string, string>;

/** Draw the objects of a frame of a size, in pixels of the frame, over an image that is fitted into `box`. */
export function drawObjects(
  context: CanvasRenderingContext2D,
  objects: readonly FrameObject[],
  frame: Size,
  box: Size,
  shown: Shown,
  paint: Paint,
): void {
  context.clearRect(0, 0, box.width, box.height);
  const { scale, left, top } = fit(frame, box);
  if (scale === 0) return;
  context.font = `600 11px ${paint.font ?? 'sans-serif'}`;
  context.textBaseline = 'top';
  for (const object of objects) {
    const colour = paint[`over-${hueOf(object.category)}`] ?? '';
    if (shown.masks) drawMask(context, object, scale, left, top, colour);
    if (!shown.boxes) continue;
    const [x, y, w, h] = object.bbox;
    const corner = [left + x * scale, top + y * scale] as const;
    // A dark line under the coloured one is seen on any image.
    context.lineWidth = 3;
    context.strokeStyle = 'rgb(0 0 0 / 0.55)';
    context.strokeRect(corner[0], corner[1], w * scale, h * scale);
    context.lineWidth = 1.5;
    context.strokeStyle = colour;
    context.strokeRect(corner[0], corner[1], w * scale, h * scale);
    if (shown.labels) drawLabel(context, labelOf(object), corner[0], corner[1], colour, paint['on-over'] ?? '');
  }
}

export function labelOf(object: FrameObject): string {
  const track = object.track_id === null ? '' : ` #${object.track_id}`;
  return object.category + track + (object.score === null ? '' : ` ${object.score.toFixed(2)}`);
}

function drawMask(
  context: CanvasRenderingContext2D,
  object: FrameObject,
  scale: number,
  left: number,
  top: number,
  colour: string,
): void {
  if (!object.polygons?.length) return;
  context.beginPath();
  for (const points of object.polygons) {
    for (let at = 0; at + 1 < points.length; at += 2) {
      const x = left + (points[at] ?? 0) * scale;
      const y = top + (points[at + 1] ?? 0) * scale;
      if (at === 0) context.moveTo(x, y);
      else context.lineTo(x, y);
    }
    context.closePath();
  }
  context.globalAlpha = 0.35;
  context.fillStyle = colour;
  context.fill('evenodd');
  context.globalAlpha = 1;
  context.lineWidth = 1;
  context.strokeStyle = colour;
  context.stroke();
}

function drawLabel(
  context: CanvasRenderingContext2D,
  text: string,
  x: number,
  y: number,
  colour: string,
  ground: string,
): void {
  const width = context.measureText(text).width + 6;
  const high = y >= 15 ? y - 15 : y;
  context.fillStyle = colour;
  context.fillRect(x - 1, high, width, 15);
  context.fillStyle = ground;
  context.fillText(text, x + 2, high + 2);
}

/** The size of a frame, from whichever of its tables has it. */
export function sizeOf(values: Record<string, Record<string, unknown>>): Size | null {
  for (const table of Object.values(values)) {
    const { width, height } = table;
    if (typeof width === 'number' && typeof height === 'number' && width > 0 && height > 0) return { width, height };
  }
  return null;
}
