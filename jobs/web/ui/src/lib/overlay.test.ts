import { expect, test } from 'vitest';
import { drawObjects, fit, hueOf, labelOf, sizeOf } from './overlay';
import type { FrameObject } from './types';

const object: FrameObject = {
  annotation_id: 'a', category: 'person', score: 0.914, bbox: [100, 50, 200, 100],
  polygons: [[100, 50, 300, 50, 300, 150]], track_id: 7, source: 'model', model: 'yolox_nano',
};

test('an image that is wider than its box has room above and below', () => {
  expect(fit({ width: 1280, height: 720 }, { width: 640, height: 640 })).toEqual({ scale: 0.5, left: 0, top: 140 });
  expect(fit({ width: 100, height: 400 }, { width: 200, height: 200 })).toEqual({ scale: 0.5, left: 75, top: 0 });
  expect(fit({ width: 0, height: 0 }, { width: 200, height: 200 }).scale).toBe(0);
});

test('pixels of the frame become pixels of the screen', () => {
  const [boxes, lines]: [number[][], number[][]] = [[], []];
  const context = {
    clearRect: () => {}, measureText: () => ({ width: 40 }), fillRect: () => {}, fillText: () => {}, beginPath: () => {},
    closePath: () => {}, fill: () => {}, stroke: () => {},
    strokeRect: (...box: number[]) => boxes.push(box),
    moveTo: (...point: number[]) => lines.push(point),
    lineTo: (...point: number[]) => lines.push(point),
  } as unknown as CanvasRenderingContext2D;
  const sizes = [{ width: 1280, height: 720 }, { width: 640, height: 640 }] as const;
  drawObjects(context, [object], ...sizes, { boxes: true, masks: true, labels: true }, {});
  expect(boxes).toEqual([[50, 165, 100, 50], [50, 165, 100, 50]]);
  expect(lines).toEqual([[50, 165], [150, 165], [150, 215]]);
  boxes.length = 0;
  drawObjects(context, [object], ...sizes, { boxes: false, masks: false, labels: false }, {});
  expect(boxes).toEqual([]);
});

test('a category has one colour wherever it is, and a label says the rest', () => {
  expect(hueOf('person')).toBe(hueOf('person'));
  expect([...'abcdefghij'].every((each) => hueOf(each) >= 1 && hueOf(each) <= 9)).toBe(true);
  expect([labelOf(object), labelOf({ ...object, score: null, track_id: null })]).toEqual(['person #7 0.91', 'person']);
});

test('the size of a frame is in one of its tables', () => {
  expect(sizeOf({ curated: { keep: true }, frames: { width: 640, height: 480 } })).toEqual({ width: 640, height: 480 });
  expect(sizeOf({ frames: { width: null, height: null } })).toBeNull();
});
