import { describe, expect, it } from 'vitest';
import { extent, marks, nearest, pathOf, places, scale, valueAt, type Line } from './chart';

const line = (points: Line['points']): Line => ({ name: 'one', points, hue: 1 });

describe('charts', () => {
  it('has round marks within the range', () => {
    expect(marks({ low: 0, high: 1 }, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(marks({ low: 0.13, high: 0.34 }, 4)).toEqual([0.2, 0.3]);
    expect(marks({ low: 1, high: 50 }, 5)).toEqual([10, 20, 30, 40, 50]);
    expect(marks({ low: 1, high: 3 }, 8, true)).toEqual([1, 2, 3]);
    expect(marks({ low: 2, high: 2 }, 5)).toEqual([2]);
  });

  it('regards known values alone', () => {
    const lines = [line([[1, 0.5], [2, null], [9, null]]), line([[3, 0.25], [4, Number.NaN]])];
    expect(extent(lines, 'y')).toEqual({ low: 0.25, high: 0.5 });
    expect(extent(lines, 'x')).toEqual({ low: 1, high: 3 });
    expect(extent([line([[1, null]])], 'y')).toBeNull();
    expect(extent([line([[1, 2]])], 'y')).toEqual({ low: 1.5, high: 2.5 });
  });

  it('draws gaps where a value is not known', () => {
    const same = (value: number): number => value;
    expect(pathOf([[1, 1], [2, 2], [3, null], [4, 4], [5, null]], same, same)).toBe('M1 1L2 2M4 4h0.01');
    expect(pathOf([], same, same)).toBe('');
  });

  it('goes from values to pixels, also upside down', () => {
    expect(scale({ low: 0, high: 1 }, 100, 0)(0.25)).toBe(75);
    expect(scale({ low: 1, high: 3 }, 0, 50)(2)).toBe(25);
  });

  it('finds what is under the pointer', () => {
    const lines = [line([[1, 5], [3, null]]), line([[2, 7]])];
    expect(places(lines)).toEqual([1, 2, 3]);
    expect(nearest([1, 2, 3], 2.4)).toBe(1);
    expect(nearest([], 2)).toBe(-1);
    expect(valueAt(lines[0] as Line, 1)).toBe(5);
    expect(valueAt(lines[0] as Line, 2)).toBeNull();
  });
});
