import { expect, test } from 'vitest';
import { choicesOf, isNumeric, movedOf, outlineOf, rangeOf, settingsOf, textOf, type Setting } from './thresholds';

const setting = (change: Partial<Setting>): Setting => ({
  key: 'curation.dark_mean', value: 32, kind: 'number from 0 to 255', low: 0, high: 255, text: '', ...change,
});

test('moved settings come back from an address as they were', () => {
  const moved = { 'idle.threshold': '0.5', 'curation.dark_mean': '20' };
  expect(textOf(moved)).toBe('curation.dark_mean=20;idle.threshold=0.5');
  expect(movedOf(textOf(moved))).toEqual(moved);
  expect(settingsOf(movedOf(null))).toEqual([]);
  expect(movedOf('=3;x;a=b=c')).toEqual({ a: 'b=c' });
});

test.each([
  ['true or false', ['true', 'false']],
  ['`keep`, `drop`', ['keep', 'drop']],
  ['`stream`', ['stream']],
  ['number from 0 to 1', []],
  ['list of `corrupt`, `blurry`', []],
])('of %s there are these choices', (kind, choices) => {
  expect(choicesOf(kind)).toEqual(choices);
});

test('numbers are told from lists of them', () => {
  expect(['number above 0', 'number from 0 or none', 'integer', 'list of integer', 'text'].map((kind) => isNumeric(setting({ kind })))).toEqual([
    true, true, true, false, false,
  ]);
});

test('a slider goes as far as values may, or as far as there are any', () => {
  expect(rangeOf(setting({}), undefined)).toEqual({ low: 0, high: 255, step: 1 });
  const histogram = { measure: 'sharpness', edges: [0, 0.5, 1], counts: [3, 1] };
  expect(rangeOf(setting({ value: null, high: null }), histogram)).toEqual({ low: 0, high: 1, step: 0.001 });
  expect(rangeOf(setting({ value: 3, kind: 'integer', low: 1, high: null }), undefined)).toEqual({ low: 1, high: 12, step: 1 });
});

test('a histogram is drawn where its values are on the slider', () => {
  const histogram = { measure: 'luma_mean', edges: [50, 100, 150], counts: [4, 1] };
  expect(outlineOf(histogram, 0, 200, 200, 40)).toBe('M50.0 40L50.0 0.0L100.0 0.0L100.0 20.0L150.0 20.0L150.0 40Z');
});
