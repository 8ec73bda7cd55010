import { expect, test } from 'vitest';
import { kept, panned, toFrame, toScreen, transformBetween, whole, zoomed } from './view';

const [FRAME, CANVAS] = [{ width: 1920, height: 1080 }, { width: 1000, height: 700 }];

test('all of a frame is seen, in the middle', () => {
  const view = whole(FRAME, CANVAS);
  expect(view.scale).toBeCloseTo(984 / 1920);
  const [left, top] = toScreen(view, [0, 0]);
  const [right, bottom] = toScreen(view, [1920, 1080]);
  expect([left, 1000 - right, top - (700 - bottom)]).toEqual([8, 8, 0].map((value) => expect.closeTo(value)));
});

test.each([0.25, 1, 7.3])('what is under the pointer stays there when it is zoomed to %d', (scale) => {
  let view = whole(FRAME, CANVAS);
  const at = [333.25, 120.5] as const;
  const before = toFrame(view, at);
  view = zoomed(view, scale / view.scale, at);
  expect(view.scale).toBeCloseTo(scale);
  expect(toFrame(view, at)).toEqual(before.map((value) => expect.closeTo(value, 8)));
  expect(toScreen(view, before)).toEqual(at.map((value) => expect.closeTo(value, 8)));
});

test('a frame never leaves the sight', () => {
  const view = panned(whole(FRAME, CANVAS), 1e6, -1e6, FRAME, CANVAS);
  expect(view.left).toBe(952);
  expect(view.top).toBeCloseTo(48 - 1080 * view.scale);
});

test('zoom and position stay from frame to frame, and their share of it where the size is another', () => {
  const view = zoomed(whole(FRAME, CANVAS), 3, [100, 100]);
  expect(kept(view, FRAME, { ...FRAME }, CANVAS)).toBe(view);
  const half = { width: 960, height: 540 };
  const after = kept(view, FRAME, half, CANVAS);
  const [x, y] = toFrame(view, [500, 350]);
  expect(toFrame(after, [500, 350])).toEqual([x / 2, y / 2].map((value) => expect.closeTo(value)));
  expect(kept(whole(FRAME, CANVAS), FRAME, half, CANVAS)).toEqual(whole(half, CANVAS));
});

test('a drawn layer is moved to where the view went', () => {
  const drawn = { scale: 2, left: 10, top: 20 };
  expect(transformBetween(drawn, drawn)).toBe('none');
  expect(transformBetween(drawn, { scale: 4, left: -5, top: 7 })).toBe('matrix(2, 0, 0, 2, -25, -33)');
});
