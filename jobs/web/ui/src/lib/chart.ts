// Lines over epochs: scales, round marks on axes, paths with gaps, and what is under the pointer.

export type Point = readonly [x: number, y: number | null];

export interface Line {
  name: string;
  points: readonly Point[];
  /** Of nine colours; lines of one colour are told apart by their dashes. */
  hue: number;
  /** Which of the dashes. */
  dash?: number;
}

export interface Range {
  low: number;
  high: number;
}

/** Dashes of lines, so that colour is never alone. */
export const DASHES = ['', '7 4', '2 3', '9 3 2 3', '4 2', '12 5'] as const;

/** Round marks from a value to another one, about as many as wanted: 1, 2 or 5 times a power of ten apart. */
export function marks(range: Range, wanted: number, whole = false): number[] {
  const span = range.high - range.low;
  if (!(span > 0)) return [range.low];
  const rough = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5, 10].find((each) => each * power >= rough * (1 - 1e-9)) ?? 10;
  const step = whole ? Math.max(1, Math.round(factor * power)) : factor * power;
  const first = Math.ceil(range.low / step - 1e-9);
  const last = Math.floor(range.high / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => Number(((first + at) * step).toPrecision(12)));
}

/** The range of all values; null where there is none. One value alone gets room on both sides. */
export function extent(lines: readonly Line[], of: 'x' | 'y'): Range | null {
  let low = Infinity;
  let high = -Infinity;
  for (const line of lines) {
    for (const point of line.points) {
      // A place without a value is no part of the axis.
      if (point[1] === null || !Number.isFinite(point[1])) continue;
      const value = of === 'x' ? point[0] : point[1];
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) return null;
  return low === high ? { low: low - 0.5, high: high + 0.5 } : { low, high };
}

/** A function from values to pixels. */
export const scale = (range: Range, from: number, to: number) => (value: number): number =>
  from + ((value - range.low) / (range.high - range.low)) * (to - from);

/** The path of a line in an SVG: values that are not known are gaps, and one alone between gaps is a dot. */
export function pathOf(points: readonly Point[], x: (value: number) => number, y: (value: number) => number): string {
  const parts: string[] = [];
  points.forEach(([at, value], n) => {
    if (value === null || !Number.isFinite(value)) return;
    const before = n > 0 ? (points[n - 1]?.[1] ?? null) : null;
    const after = points[n + 1]?.[1] ?? null;
    const place = `${round(x(at))} ${round(y(value))}`;
    parts.push(before === null ? `M${place}` : `L${place}`);
    if (before === null && after === null) parts.push('h0.01');
  });
  return parts.join('');
}

const round = (value: number): number => Math.round(value * 100) / 100;

/** All places that lines have values at, in order. */
export function places(lines: readonly Line[]): number[] {
  return [...new Set(lines.flatMap((line) => line.points.map(([x]) => x)))].sort((one, other) => one - other);
}

/** Which of the places, in order, is nearest to a value; -1 for none. */
export function nearest(known: readonly number[], value: number): number {
  let best = -1;
  known.forEach((place, at) => {
    if (best < 0 || Math.abs(place - value) < Math.abs((known[best] ?? 0) - value)) best = at;
  });
  return best;
}

/** The value of a line at a place; null where it has none. */
export const valueAt = (line: Line, place: number): number | null => line.points.find(([x]) => x === place)?.[1] ?? null;
