import { expect, test } from 'vitest';
import { asQuery, filtersOf, frameOf, nameOf } from './filters';

test('an address names a frame of a stream of any name', () => {
  const frame = { stream_id: 'hall/a@b #1\né', frame_idx: 42 };
  expect(frameOf(nameOf(frame))).toEqual(frame);
  const late = { stream_id: 'cam', frame_idx: '1700000000123456789' };
  expect(frameOf(nameOf(late))).toEqual(late);
  expect([frameOf(null), frameOf('x@cam'), frameOf('12')]).toEqual([null, null, null]);
});

test('only what was chosen is asked for', () => {
  const filters = filtersOf(new URLSearchParams({ keep: 'kept', where: 'sharpness < 40', frame: '1@cam' }));
  expect(asQuery(filters)).toEqual({ keep: 'kept', where: 'sharpness < 40' });
});
