import { expect, test } from 'vitest';
import { shownWithUnit } from './values';

test('values have their units, and what is not known has none', () => {
  expect(shownWithUnit(12.5, 'luma 0..255')).toEqual({ text: '12.5', unit: 'luma 0..255' });
  expect(shownWithUnit(null, 'px').unit).toBe('');
  expect(shownWithUnit(294_496, 'bytes')).toEqual({ text: '287.6', unit: 'KiB' });
  expect(shownWithUnit(5 * 1024 ** 2, 'bytes')).toEqual({ text: '5.0', unit: 'MiB' });
  expect(shownWithUnit('2500000000', 'ns')).toEqual({ text: '2.5', unit: 's' });
});

test('a time is a time, to the last digit that a text has', () => {
  const { text, unit } = shownWithUnit('1700000000500000000', 'ns since 1970');
  expect(unit).toBe('');
  expect(text).toContain('2023');
});
