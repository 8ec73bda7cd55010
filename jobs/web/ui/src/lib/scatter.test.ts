import { expect, test } from 'vitest';
import { areaOf, cornersOf, drawPoints, NOWHERE, pixelOf, ramp, SIDE, simplified, sizeOfPoint, toMap, toScreen, whole, zoomed } from './scatter';

const camera = whole(200, 100);

test('a place on the map is where it is drawn', () => {
  for (const at of [{ x: 0.5, y: 0.5 }, { x: 0, y: 1 }, { x: 0.3, y: 0.9 }]) {
    const back = toMap(toScreen(at, camera, 200, 100), camera, 200, 100);
    expect(back.x).toBeCloseTo(at.x);
    expect(back.y).toBeCloseTo(at.y);
  }
  expect(toScreen({ x: 0.5, y: 1 }, camera, 200, 100).y).toBeLessThan(50);
});

test('what is under the pointer stays there while it zooms', () => {
  const at = { x: 150, y: 20 };
  const before = toMap(at, camera, 200, 100);
  const after = toMap(at, zoomed(camera, 3, at, 200, 100), 200, 100);
  expect(after.x).toBeCloseTo(before.x);
  expect(after.y).toBeCloseTo(before.y);
});

test('points are drawn where they are, chosen ones over the others, and none that has no place', () => {
  const pixels = new Uint32Array(200 * 100);
  const [x, y] = [new Uint16Array([SIDE / 2, SIDE / 2, NOWHERE, 0]), new Uint16Array([SIDE / 2, SIDE / 2, 0, 0])];
  const colours = new Uint32Array(256).fill(7);
  colours[1] = 9;
  const n = drawPoints(pixels, 200, 100, camera, 1, x, y, new Uint8Array([1, 0, 0, 0]), colours, new Uint8Array([1, 0, 1, 0]), 3);
  expect(n).toBe(1);
  expect(pixels[50 * 200 + 100]).toBe(9);
  expect(pixels.filter((each) => each !== 0).length).toBe(2);
  expect([...new Set(pixels)].sort()).toEqual([0, 3, 9]);
});

test('an area of the address is the polygon that was drawn', () => {
  const corners = [{ x: 0.1, y: 0.2 }, { x: 0.5, y: 0.2 }, { x: 0.33333, y: 0.9 }];
  const text = areaOf('layout', corners);
  expect(text).toBe('layout:0.1,0.2;0.5,0.2;0.3333,0.9');
  expect(cornersOf(text)?.corners[2]).toEqual({ x: 0.3333, y: 0.9 });
  expect([cornersOf(''), cornersOf('layout:1,2'), cornersOf('x:a,b;c,d;e,f')]).toEqual([null, null, null]);
});

test('a long line keeps its ends and few corners', () => {
  const line = Array.from({ length: 5000 }, (_, at) => ({ x: at, y: 0 }));
  expect(simplified(line).length).toBe(120);
  expect(simplified([{ x: 0, y: 0 }, { x: 1, y: 0 }, { x: 9, y: 0 }])).toEqual([{ x: 0, y: 0 }, { x: 9, y: 0 }]);
});

test('colours and sizes', () => {
  expect(pixelOf('#010203')).toBe(0xff030201);
  expect(pixelOf('rgb(1, 2, 3)')).toBe(0xff030201);
  expect(ramp(0)).toEqual([68, 56, 132]);
  expect(ramp(2)).toEqual([228, 212, 60]);
  expect([sizeOfPoint(100, 800, 800), sizeOfPoint(1_000_000, 800, 800), sizeOfPoint(1_000_000, 80_000, 800)]).toEqual([7, 1, 7]);
});
