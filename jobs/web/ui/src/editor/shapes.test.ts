import { expect, test } from 'vitest';
import { Bitmap, areaOf, boundsOf, compressed, decompressed, hasPixel } from './masks';
import { Scene, type SceneObject } from './scene';
import {
  area, bounds, boxBetween, clockwise, cornersOf, crossesItself, degreesTo, doubledArea, handlesOf, isOn, moved, resized,
  turned, within, withCorner, withNewCorner, withoutCorner, type BoxShape, type PolygonShape, type Shape,
} from './shapes';

const FRAME = { width: 100, height: 80 };
const box = (x: number, y: number, w: number, h: number, degrees = 0): BoxShape => ({ kind: 'box', box: [x, y, w, h], degrees });
const polygon = (...ring: number[]): PolygonShape => ({ kind: 'polygon', rings: [ring] });
const object = (id: string, shape: Shape): SceneObject => ({
  id, category: 'car', shape, track: null, keyframe: null, score: null, source: null, model: null, origin: 'model', author: null, checkedBy: null,
});

test('a box turned by a quarter has its corners and bounds where they are seen', () => {
  const shape = box(10, 20, 40, 20, 90);
  // About (30, 30): the upper left corner goes to the upper right.
  const [corner] = cornersOf(shape);
  expect(corner[0]).toBeCloseTo(40);
  expect(corner[1]).toBeCloseTo(10);
  const { left, top, right, bottom } = bounds(shape);
  [left, top, right, bottom].forEach((value, at) => expect(value).toBeCloseTo([20, 10, 40, 50][at] as number));
  expect(isOn(shape, [30, 12], 0)).toBe(true);
  expect(isOn(shape, [12, 30], 0)).toBe(false);
});

test('a turned box is resized with its opposite corner fixed', () => {
  const shape = box(10, 20, 40, 20, 30);
  const before = cornersOf(shape)[0];
  const after = resized(shape, [1, 1], turned([70, 60], [30, 30], 30), FRAME);
  expect(cornersOf(after)[0][0]).toBeCloseTo(before[0]);
  expect(cornersOf(after)[0][1]).toBeCloseTo(before[1]);
  expect(after.box[2]).toBeCloseTo(60);
  expect(after.box[3]).toBeCloseTo(40);
});

test('a box is pulled past its other edge, and stays within the frame', () => {
  expect(resized(box(10, 10, 20, 20), [1, 0], [4, 0], FRAME).box).toEqual([4, 10, 6, 20]);
  expect(resized(box(10, 10, 20, 20), [1, 1], [400, 300], FRAME).box).toEqual([10, 10, 90, 70]);
  expect(boxBetween([120, -5], [90, 10], FRAME)).toEqual([90, 0, 10, 10]);
  expect(handlesOf(box(0, 0, 10, 20))[4]).toEqual([10, 20]);
});

test('a shape is moved no further than the frame reaches', () => {
  expect(moved(box(10, 10, 20, 20), -30, 100, FRAME)).toEqual(box(0, 60, 20, 20));
  expect(moved(polygon(1, 1, 5, 1, 5, 5), 2, -9, FRAME)).toEqual(polygon(3, 0, 7, 0, 7, 4));
});

test('a copy is on the frame, also on a smaller one', () => {
  expect(within(box(90, -5, 20, 20), FRAME)).toEqual(box(80, 0, 20, 20));
  expect(within(box(-20, 10, 300, 20), FRAME)).toEqual(box(0, 10, 100, 20));
  expect(within(box(300, 300, 20, 20), FRAME)).toEqual(box(80, 60, 20, 20));
  expect(within(polygon(95, 10, 110, 10, 110, 30), FRAME)).toEqual(polygon(85, 10, 100, 10, 100, 30));
  expect(within(box(95, 75, 40, 40, 45), FRAME)).toMatchObject({ degrees: 45 });
  expect(within({ kind: 'mask', counts: [0, 4], size: { width: 2, height: 2 } }, FRAME)).toBe(null);
});

test('the upper edge faces where it is turned to', () => {
  expect([degreesTo([0, 0], [0, -5]), degreesTo([0, 0], [5, 0]), degreesTo([0, 0], [0, 5]), degreesTo([0, 0], [-5, 0])]).toEqual([0, 90, 180, 270]);
});

test('corners of a polygon are added, moved and taken away, three at least', () => {
  const triangle = polygon(0, 0, 10, 0, 0, 10);
  const square = withNewCorner(triangle, 0, 1, [10, 10]);
  expect(square.rings[0]).toEqual([0, 0, 10, 0, 10, 10, 0, 10]);
  expect(withCorner(square, 0, 2, [12, 12]).rings[0]).toEqual([0, 0, 10, 0, 12, 12, 0, 10]);
  expect(withoutCorner(square, 0, 0)?.rings[0]).toEqual([10, 0, 10, 10, 0, 10]);
  expect(withoutCorner(triangle, 0, 0)).toBe(null);
});

test('polygons: area, order of corners, and edges that cross', () => {
  const ring = [0, 0, 10, 0, 10, 10, 0, 10];
  expect(area(polygon(...ring))).toBe(100);
  // A hole turns the other way.
  expect(area({ kind: 'polygon', rings: [ring, [2, 2, 2, 4, 4, 4, 4, 2]] })).toBe(96);
  expect(clockwise([0, 10, 10, 10, 10, 0, 0, 0])).toEqual([0, 0, 10, 0, 10, 10, 0, 10]);
  expect(doubledArea(ring)).toBe(200);
  expect(crossesItself(ring)).toBe(false);
  expect(crossesItself([0, 0, 10, 10, 10, 0, 0, 10])).toBe(true);
});

test('run lengths are those of a bitmap, column by column, and back', () => {
  const size = { width: 4, height: 3 };
  const bitmap = new Bitmap(size);
  bitmap.pixels.set([0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
  const counts = bitmap.counts();
  expect(counts).toEqual([1, 3, 7, 1]);
  expect([...new Bitmap(size, counts).pixels]).toEqual([...bitmap.pixels]);
  expect(areaOf(counts)).toBe(4);
  expect(boundsOf(counts, size)).toEqual({ left: 0, top: 0, right: 4, bottom: 3 });
  expect([hasPixel(counts, size, 1, 0), hasPixel(counts, size, 1, 1), hasPixel(counts, size, 3, 2), hasPixel(counts, size, 4, 0)]).toEqual([true, false, true, false]);
  expect(new Bitmap(size).counts()).toEqual([12]);
});

test('the compressed text is that of pycocotools', () => {
  // pycocotools.mask.encode of a 1080 x 1920 mask of [100:300, 200:500], and of one that is full from its first pixel.
  const rows = 200;
  const counts = [200 * 1080 + 100, rows, ...Array.from({ length: 299 }, () => [1080 - rows, rows]).flat(), 1420 * 1080 + 780];
  expect(decompressed(compressed(counts))).toEqual(counts);
  expect(compressed([0, 12])).toBe('0<');
  expect(compressed([1, 3, 7, 1])).toBe('137N');
  expect(decompressed('137N')).toEqual([1, 3, 7, 1]);
  expect(() => decompressed('~~')).toThrow('compressed run lengths');
});

test('a brush paints the pixels whose centres it reaches, and erases them', () => {
  const bitmap = new Bitmap({ width: 10, height: 10 });
  bitmap.stroke([2, 2], [2, 2], 1, 1);
  expect(areaOf(bitmap.counts())).toBe(4);
  bitmap.stroke([2, 5], [8, 5], 1, 1);
  expect(boundsOf(bitmap.counts(), bitmap.size)).toEqual({ left: 1, top: 1, right: 9, bottom: 6 });
  bitmap.stroke([0, 5], [10, 5], 3, 0);
  bitmap.stroke([2, 2], [2, 2], 2, 0);
  expect(bitmap.counts()).toEqual([100]);
});

test('the smallest object under the pointer comes first, whatever was drawn later', () => {
  const scene = new Scene([object('small', box(20, 20, 5, 5)), object('large', box(0, 0, 60, 60)), object('far', box(80, 0, 5, 5))]);
  expect(scene.under([22, 22], 0).map((each) => each.id)).toEqual(['small', 'large']);
  expect(scene.under([18.5, 22], 0).map((each) => each.id)).toEqual(['large']);
  expect(scene.under([18.5, 22], 2).map((each) => each.id)).toEqual(['small', 'large']);
});

test('the tree and what changed since are searched as one', () => {
  const scene = new Scene(Array.from({ length: 500 }, (_, n) => object(`o${n}`, box((n % 50) * 2, Math.floor(n / 50) * 8, 1, 4))));
  const part = { left: 0, top: 0, right: 9, bottom: 3 };
  expect(scene.within(part).map((each) => each.id)).toEqual(['o0', 'o1', 'o2', 'o3', 'o4']);
  scene.remove('o1');
  scene.put(object('o2', box(90, 70, 5, 5)));
  scene.put(object('new', box(4, 1, 1, 1)));
  expect(scene.within(part).map((each) => each.id)).toEqual(['o0', 'o3', 'o4', 'new']);
  expect(scene.under([92, 72], 0).map((each) => each.id)).toContain('o2');
});
