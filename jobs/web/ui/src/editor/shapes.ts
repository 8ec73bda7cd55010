// Shapes on a frame, in pixels of the frame as it is displayed: a pixel (x, y) covers the square from (x, y) to
// (x + 1, y + 1). Everything here is a value: what changes a shape returns a new one.

import type { Size } from '../lib/overlay';
import { areaOf, boundsOf, hasPixel } from './masks';

export type Point = readonly [x: number, y: number];
/** x, y, width, height. */
export type Box = readonly [x: number, y: number, w: number, h: number];
/** x, y, x, y, … */
export type Ring = readonly number[];

/** A box, turned clockwise about its centre by a number of degrees. */
export interface BoxShape {
  kind: 'box';
  box: Box;
  degrees: number;
}
/** Rings that are filled by the even-odd rule. */
export interface PolygonShape {
  kind: 'polygon';
  rings: readonly Ring[];
}
/** Lengths of runs, column by column, background first, as COCO has them. */
export interface MaskShape {
  kind: 'mask';
  counts: readonly number[];
  size: Size;
}
export type Shape = BoxShape | PolygonShape | MaskShape;

export interface Bounds {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

const turn = (degrees: number): [number, number] => {
  const angle = (degrees * Math.PI) / 180;
  return [Math.cos(angle), Math.sin(angle)];
};

export const centreOf = ([x, y, w, h]: Box): Point => [x + w / 2, y + h / 2];

/** A point, turned clockwise about a centre. */
export function turned([x, y]: Point, [cx, cy]: Point, degrees: number): Point {
  if (degrees === 0) return [x, y];
  const [cos, sin] = turn(degrees);
  return [cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos];
}

/** The corners of a box: upper left, upper right, lower right, lower left, before it is turned. */
export function cornersOf({ box, degrees }: BoxShape): readonly [Point, Point, Point, Point] {
  const [x, y, w, h] = box;
  const centre = centreOf(box);
  const at = (px: number, py: number): Point => turned([px, py], centre, degrees);
  return [at(x, y), at(x + w, y), at(x + w, y + h), at(x, y + h)];
}

export function ringBounds(rings: readonly Ring[]): Bounds {
  const found: Bounds = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const ring of rings) {
    for (let at = 0; at + 1 < ring.length; at += 2) {
      const x = ring[at] as number;
      const y = ring[at + 1] as number;
      if (x < found.left) found.left = x;
      if (x > found.right) found.right = x;
      if (y < found.top) found.top = y;
      if (y > found.bottom) found.bottom = y;
    }
  }
  return found;
}

/** The upright box around a shape. */
export function bounds(shape: Shape): Bounds {
  if (shape.kind === 'mask') return boundsOf(shape.counts, shape.size);
  if (shape.kind === 'polygon') return ringBounds(shape.rings);
  if (shape.degrees === 0) {
    const [x, y, w, h] = shape.box;
    return { left: x, top: y, right: x + w, bottom: y + h };
  }
  return ringBounds([cornersOf(shape).flat()]);
}

/** The box that tables have for a shape: that of a box before it is turned, else the upright one around it. */
export function boxOf(shape: Shape): Box {
  if (shape.kind === 'box') return shape.box;
  const { left, top, right, bottom } = bounds(shape);
  return Number.isFinite(left) ? [left, top, right - left, bottom - top] : [0, 0, 0, 0];
}

/** Twice the signed area of a ring, positive where it is clockwise on the screen. */
export function doubledArea(ring: Ring): number {
  let sum = 0;
  for (let at = 0, last = ring.length - 2; at + 1 < ring.length; last = at, at += 2) {
    sum += (ring[last] as number) * (ring[at + 1] as number) - (ring[at] as number) * (ring[last + 1] as number);
  }
  return sum;
}

/** How many pixels a shape covers, holes left out. */
export function area(shape: Shape): number {
  if (shape.kind === 'box') return shape.box[2] * shape.box[3];
  if (shape.kind === 'mask') return areaOf(shape.counts);
  return Math.abs(shape.rings.reduce((sum, ring) => sum + doubledArea(ring), 0)) / 2;
}

export function distanceToSegment([px, py]: Point, ax: number, ay: number, bx: number, by: number): number {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : Math.max(0, Math.min(1, ((px - ax) * dx + (py - ay) * dy) / length));
  return Math.hypot(px - ax - along * dx, py - ay - along * dy);
}

/** Whether a point is inside rings by the even-odd rule. */
export function isInside(rings: readonly Ring[], [px, py]: Point): boolean {
  let inside = false;
  for (const ring of rings) {
    for (let at = 0, last = ring.length - 2; at + 1 < ring.length; last = at, at += 2) {
      const [ax, ay, bx, by] = [ring[at], ring[at + 1], ring[last], ring[last + 1]] as [number, number, number, number];
      if (ay > py !== by > py && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) inside = !inside;
    }
  }
  return inside;
}

/** Whether a point is on a shape, or not further from its outline than `slack` pixels of the frame. */
export function isOn(shape: Shape, point: Point, slack: number): boolean {
  if (shape.kind === 'box') {
    const [x, y, w, h] = shape.box;
    const [px, py] = turned(point, centreOf(shape.box), -shape.degrees);
    return px >= x - slack && px <= x + w + slack && py >= y - slack && py <= y + h + slack;
  }
  if (shape.kind === 'mask') return hasPixel(shape.counts, shape.size, Math.floor(point[0]), Math.floor(point[1]));
  if (isInside(shape.rings, point)) return true;
  return shape.rings.some((ring) => nearestEdge(ring, point).distance <= slack);
}

/** The edge of a ring that is nearest to a point: the index of the corner that it begins at, and how far it is. */
export function nearestEdge(ring: Ring, point: Point): { corner: number; distance: number } {
  let found = { corner: 0, distance: Infinity };
  for (let at = 0; at + 1 < ring.length; at += 2) {
    const next = (at + 2) % ring.length;
    const [ax, ay, bx, by] = [ring[at], ring[at + 1], ring[next], ring[next + 1]] as [number, number, number, number];
    const distance = distanceToSegment(point, ax, ay, bx, by);
    if (distance < found.distance) found = { corner: at / 2, distance };
  }
  return found;
}

/** Whether two edges of a ring cross: such a polygon has no inside that people agree on. */
export function crossesItself(ring: Ring): boolean {
  const n = ring.length / 2;
  const at = (corner: number): Point => [ring[(corner % n) * 2] as number, ring[(corner % n) * 2 + 1] as number];
  const side = (a: Point, b: Point, c: Point): number =>
    Math.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]));
  for (let one = 0; one < n; one += 1) {
    for (let other = one + 2; other < n; other += 1) {
      if (one === 0 && other === n - 1) continue;
      const [a, b, c, d] = [at(one), at(one + 1), at(other), at(other + 1)];
      if (side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0) return true;
    }
  }
  return false;
}

/** A ring in clockwise order on the screen. */
export function clockwise(ring: Ring): Ring {
  if (doubledArea(ring) >= 0) return ring;
  const points: number[] = [];
  for (let at = ring.length - 2; at >= 0; at -= 2) points.push(ring[at] as number, ring[at + 1] as number);
  return points;
}

const clamp = (value: number, least: number, most: number): number => Math.min(Math.max(value, least), most);

export const clampPoint = ([x, y]: Point, frame: Size): Point => [clamp(x, 0, frame.width), clamp(y, 0, frame.height)];

/** The upright box between two points, within a frame. */
export function boxBetween(one: Point, other: Point, frame: Size): Box {
  const [ax, ay] = clampPoint(one, frame);
  const [bx, by] = clampPoint(other, frame);
  return [Math.min(ax, bx), Math.min(ay, by), Math.abs(bx - ax), Math.abs(by - ay)];
}

/** A shape moved by a vector, as far as its bounds stay on the frame. */
export function moved(shape: Shape, dx: number, dy: number, frame: Size): Shape {
  if (shape.kind === 'mask') return shape;
  const { left, top, right, bottom } = bounds(shape);
  const x = clamp(dx, Math.min(0, -left), Math.max(0, frame.width - right));
  const y = clamp(dy, Math.min(0, -top), Math.max(0, frame.height - bottom));
  if (shape.kind === 'polygon') {
    return { kind: 'polygon', rings: shape.rings.map((ring) => ring.map((value, at) => value + (at % 2 ? y : x))) };
  }
  const [bx, by, w, h] = shape.box;
  return { ...shape, box: [bx + x, by + y, w, h] };
}

/** A shape, moved and cut so that it is on a frame; null where nothing of it can be. */
export function within(shape: Shape, frame: Size): Shape | null {
  if (shape.kind === 'mask') return shape.size.width === frame.width && shape.size.height === frame.height ? shape : null;
  const { left, top, right, bottom } = bounds(shape);
  // What lies beyond an edge is moved in; what is larger than the frame is cut.
  const dx = right > frame.width ? Math.max(frame.width - right, -left) : Math.max(0, -left);
  const dy = bottom > frame.height ? Math.max(frame.height - bottom, -top) : Math.max(0, -top);
  if (shape.kind === 'polygon') {
    return {
      kind: 'polygon',
      rings: shape.rings.map((ring) => ring.map((value, at) => clamp(value + (at % 2 ? dy : dx), 0, at % 2 ? frame.height : frame.width))),
    };
  }
  const [x, y, w, h] = shape.box;
  if (shape.degrees !== 0) {
    const [cx, cy] = clampPoint([x + w / 2 + dx, y + h / 2 + dy], frame);
    return { ...shape, box: [cx - w / 2, cy - h / 2, w, h] };
  }
  const box = boxBetween([x + dx, y + dy], [x + dx + w, y + dy + h], frame);
  return box[2] > 0 && box[3] > 0 ? { ...shape, box } : null;
}

/** Which edges of a box a handle pulls: -1 the left or upper one, 1 the right or lower one, 0 neither. */
export type Pull = readonly [x: -1 | 0 | 1, y: -1 | 0 | 1];
export const PULLS: readonly Pull[] = [[-1, -1], [0, -1], [1, -1], [1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0]];

/** A box with one edge or corner pulled to a point; the opposite one stays where it is, however the box is turned. */
export function resized(shape: BoxShape, pull: Pull, to: Point, frame: Size): BoxShape {
  const [x, y, w, h] = shape.box;
  const centre = centreOf(shape.box);
  const [px, py] = turned(shape.degrees === 0 ? clampPoint(to, frame) : to, centre, -shape.degrees);
  const along = (low: number, size: number, way: number, at: number): [number, number] => {
    if (way === 0) return [low, low + size];
    const fixed = way < 0 ? low + size : low;
    return [Math.min(fixed, at), Math.max(fixed, at)];
  };
  const [left, right] = along(x, w, pull[0], px);
  const [top, bottom] = along(y, h, pull[1], py);
  const box: Box = [left, top, right - left, bottom - top];
  if (shape.degrees === 0) return { ...shape, box };
  // The centre of the new box, as it is displayed, is the centre that it is turned about.
  const [cx, cy] = turned(centreOf(box), centre, shape.degrees);
  return { ...shape, box: [cx - box[2] / 2, cy - box[3] / 2, box[2], box[3]] };
}

/** Where the handles of a box are, in the order of `PULLS`. */
export function handlesOf(shape: BoxShape): readonly Point[] {
  const [x, y, w, h] = shape.box;
  const centre = centreOf(shape.box);
  return PULLS.map(([px, py]) => turned([x + (w * (px + 1)) / 2, y + (h * (py + 1)) / 2], centre, shape.degrees));
}

/** Degrees from 0 to 360 that turn a box so that its upper edge faces a point. */
export function degreesTo([cx, cy]: Point, [px, py]: Point): number {
  const degrees = (Math.atan2(px - cx, cy - py) * 180) / Math.PI;
  return ((degrees % 360) + 360) % 360;
}

export function withCorner(shape: PolygonShape, ring: number, corner: number, to: Point): PolygonShape {
  return changedRing(shape, ring, (points) => {
    const next = [...points];
    [next[corner * 2], next[corner * 2 + 1]] = to;
    return next;
  });
}

/** A polygon with one more corner, on the edge that begins at a corner. */
export function withNewCorner(shape: PolygonShape, ring: number, corner: number, at: Point): PolygonShape {
  return changedRing(shape, ring, (points) => [...points.slice(0, corner * 2 + 2), ...at, ...points.slice(corner * 2 + 2)]);
}

/** A polygon without a corner; null where fewer than three would be left. */
export function withoutCorner(shape: PolygonShape, ring: number, corner: number): PolygonShape | null {
  const points = shape.rings[ring];
  if (!points || points.length <= 6) return null;
  return changedRing(shape, ring, (all) => all.filter((_, at) => Math.floor(at / 2) !== corner));
}

function changedRing(shape: PolygonShape, ring: number, change: (points: Ring) => Ring): PolygonShape {
  return { kind: 'polygon', rings: shape.rings.map((points, at) => (at === ring ? change(points) : points)) };
}
