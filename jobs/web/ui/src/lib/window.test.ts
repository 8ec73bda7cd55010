import { expect, test } from 'vitest';
import { grid, rowsShown, Track } from './window';

test('a list that fits is scrolled pixel by pixel', () => {
  const track = new Track(5000, 800);
  expect([track.height, track.topOf(1234), track.barOf(1234), track.topOf(1e9)]).toEqual([5000, 1234, 1234, 4200]);
});

test('a list longer than any element reaches its end where the bar does', () => {
  const track = new Track(80_000_000, 1000, 8_000_000);
  expect(track.height).toBe(8_000_000);
  expect([track.topOf(0), track.topOf(7_999_000)]).toEqual([0, 79_999_000]);
  expect(track.topOf(track.barOf(12_345_678))).toBeCloseTo(12_345_678, 3);
});

test('as many columns as fit, and every frame in a row', () => {
  const found = grid(1000, 1001, 180, 8, 20, 16 / 9);
  expect([found.columns, found.cellWidth, found.rows]).toEqual([5, 193, 201]);
  expect(grid(50, 3, 180, 8, 20, 1).columns).toBe(1);
});

test('the same number of rows is drawn wherever the list is', () => {
  const sizes = [0, 55, 999, 12345, 99000, 1e9].map((top) => {
    const [first, end] = rowsShown(top, 800, 100, 1000);
    return end - first;
  });
  expect(new Set(sizes)).toEqual(new Set([11]));
  expect(rowsShown(0, 800, 100, 3)).toEqual([0, 3]);
  expect(rowsShown(1e9, 800, 100, 1000)).toEqual([989, 1000]);
});
