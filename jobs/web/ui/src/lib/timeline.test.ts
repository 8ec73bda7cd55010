import { expect, test } from 'vitest';
import { binAt, inWords, nextBin, parts, range } from './timeline';
import type { Timeline } from './types';

const timeline: Timeline = {
  stream_id: 's', by: 'number', start: 0, end: 39, bins: 4,
  frames: [10, 10, 0, 1],
  kept: [10, 4, 0, 0],
  reasons: { blurry: [0, 6, 0, 1], idle: [0, 6, 0, 0] },
  curves: { motion: [0.5, null, null, 0.25] },
  idle: [[0.5, 2]], scenes: [[0, 1.5], [1.5, 4]], gaps: [[2, 3]],
  at: [0, 10, null, 30],
};

test('frames with several reasons are dropped once: the reasons share the column', () => {
  expect(parts(timeline, 0)).toEqual([{ what: 'kept', from: 0, to: 1 }]);
  expect(parts(timeline, 1)).toEqual([
    { what: 'kept', from: 0, to: 0.4 },
    { what: 'blurry', from: 0.4, to: 0.7 },
    { what: 'idle', from: 0.7, to: 1 },
  ]);
  expect(parts(timeline, 2)).toEqual([]);
});

test('frames that nothing decided about are a part of their own', () => {
  const open = { ...timeline, kept: [0, 0, 0, 0], reasons: {} };
  expect(parts(open, 0)).toEqual([{ what: 'undecided', from: 0, to: 1 }]);
});

test('a position is told in words', () => {
  expect(inWords(timeline, 0)).toBe('frame 0 · 10 of 10 kept · in an idle interval · scene 1 · motion 0.5');
  expect(inWords(timeline, 2)).toBe('gap: no frames');
  expect(inWords(timeline, 3)).toBe('frame 30 · dropped: blurry · scene 2 · motion 0.25');
});

test('a share of the width is a bin, and its ends are those of the timeline', () => {
  expect([0, 0.24, 0.25, 0.99, 1, -0.1, 1.2].map((share) => binAt(timeline, share))).toEqual([0, 0, 1, 3, 3, 0, 3]);
  expect(binAt({ ...timeline, bins: 0 }, 0.5)).toBeNull();
});

test('keys pass over positions without frames, and stop at the ends', () => {
  expect([nextBin(timeline, 1, 1), nextBin(timeline, 3, -1), nextBin(timeline, 3, 1), nextBin(timeline, 0, -5)]).toEqual([3, 1, 3, 0]);
});

test('a curve of equal values is drawn in the middle, one without values not at all', () => {
  expect([range([2, null, 2]), range([null, Number.NaN]), range([3, 1])]).toEqual([[1.5, 2.5], null, [1, 3]]);
});
