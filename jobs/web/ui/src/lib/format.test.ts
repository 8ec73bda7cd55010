import { expect, test } from 'vitest';
import { ago, count, measure, plural, seconds, share, value } from './format';

test('shares never round something to nothing, nor nearly all to all', () => {
  expect([share(1, 10000), share(9999, 10000), share(0, 10), share(10, 10), share(1, 3), share(1, 0)]).toEqual(
    ['< 0.1 %', '> 99.9 %', '0 %', '100 %', '33 %', '–'],
  );
});

test.each([
  [0.44, '0.4 s'], [59.4, '59 s'], [61, '1 min 01 s'], [3725, '1 h 02 min'], [200000, '2 d 7 h'], [null, '–'],
])('%s seconds are %s', (given, said) => expect(seconds(given)).toBe(said));

test('numbers are grouped, and nothing is no number', () => {
  expect([count(1234567), count(0), count(null), plural(1, 'frame'), plural(2000, 'frame')]).toEqual(
    ['1,234,567', '0', '–', '1 frame', '2,000 frames'],
  );
});

test('measures have four figures', () => {
  expect([measure(43.21774), measure(0.000012), measure(12), measure(1234567.8)]).toEqual(
    ['43.22', '1.20e-5', '12', '1.23e+6'],
  );
});

test('times are told from now', () => {
  const now = Date.parse('2026-05-04T12:00:00Z');
  expect([ago('2026-05-04T11:30:00Z', now), ago('2026-05-04T14:30:00Z', now), ago('2026-04-01T00:00:00Z', now), ago(null, now)]).toEqual(
    ['30 min ago', 'in 2 h', '33 d ago', 'never'],
  );
});

test('values of tables are one line each', () => {
  expect([value(null), value(true), value(['a', 'b']), value('x'), value(0)]).toEqual(['–', 'yes', '["a","b"]', 'x', '0']);
});
