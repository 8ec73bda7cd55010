import { expect, test } from 'vitest';
import { address } from './api';
import { asQuery, filtersOf, frameOf, nameOf, toggled } from './filters';

test('an address names a frame of a stream of any name', () => {
  const frame = { stream_id: 'hall/a@b #1\né', frame_idx: 42 };
  expect(frameOf(nameOf(frame))).toEqual(frame);
  const late = { stream_id: 'cam', frame_idx: '1700000000123456789' };
  expect(frameOf(nameOf(late))).toEqual(late);
  expect([frameOf(null), frameOf('x@cam'), frameOf('12')]).toEqual([null, null, null]);
});

test('only what was chosen is asked for', () => {
  const filters = filtersOf(new URLSearchParams('keep=kept&where=sharpness+%3C+40&frame=1@cam&reason=dark&reason=blurry'));
  expect(asQuery(filters)).toEqual({ keep: ['kept'], where: 'sharpness < 40', reason: ['dark', 'blurry'] });
  expect(address('frames', asQuery(filters))).toBe('/api/v1/frames?keep=kept&reason=dark&reason=blurry&where=sharpness+%3C+40');
});

test('a click adds a value of a kind, and another one takes it away', () => {
  expect(toggled(['a'], 'b')).toEqual(['a', 'b']);
  expect(toggled(['a', 'b'], 'a')).toEqual(['b']);
});
