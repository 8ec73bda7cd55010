// Settings that decide which frames are kept: how they are moved, written and drawn.

import type { FrameName } from './types';

export type SettingValue = number | boolean | string | null;

export interface Setting {
  key: string;
  value: SettingValue | readonly string[];
  /** What it takes, in words: `number from 0 to 255`, "`keep`, `drop`". */
  kind: string;
  low: number | null;
  high: number | null;
  text: string;
}

export interface Histogram {
  measure: string;
  /** One more than there are counts. */
  edges: number[];
  counts: number[];
}

export interface Thresholds {
  run: string;
  settings: Setting[];
  histograms: Record<string, Histogram>;
}

export interface ChangedFrame extends FrameName {
  keep: boolean;
  kept: boolean | null;
  reasons: string[];
  reasons_before: string[] | null;
}

export interface Preview {
  run: string;
  frames: number;
  kept_before: number;
  kept: number;
  newly_kept: number;
  newly_dropped: number;
  reasons: Record<string, number>;
  changes: number;
  start: number;
  frames_changed: ChangedFrame[];
  start_stage: string | null;
  command: string[] | null;
}

export type Moved = Record<string, string>;

/** The settings as the command line takes them, in order of their names. */
export const settingsOf = (moved: Moved): string[] =>
  Object.keys(moved)
    .sort()
    .map((key) => `${key}=${moved[key]}`);

/** The settings that an address names. */
export function movedOf(text: string | null): Moved {
  const found: Moved = {};
  for (const part of (text ?? '').split(';')) {
    const at = part.indexOf('=');
    if (at > 0) found[part.slice(0, at)] = part.slice(at + 1);
  }
  return found;
}

export const textOf = (moved: Moved): string => settingsOf(moved).join(';');

/** The values that a setting may have where these are a few words; none for numbers and texts. */
export const choicesOf = (kind: string): string[] =>
  kind === 'true or false' ? ['true', 'false'] : /^`[^`]+`(, `[^`]+`)*$/.test(kind) ? kind.slice(1, -1).split('`, `') : [];

export const isNumeric = (setting: Setting): boolean => /\b(number|integer)\b/.test(setting.kind) && !setting.kind.startsWith('list');
export const isWhole = (setting: Setting): boolean => /\binteger\b/.test(setting.kind);

/** From where to where a slider goes: as far as values may, or as far as there are any. */
export function rangeOf(setting: Setting, histogram: Histogram | undefined): { low: number; high: number; step: number } {
  const value = typeof setting.value === 'number' ? setting.value : 0;
  const low = setting.low ?? Math.min(0, value);
  const largest = histogram ? (histogram.edges[histogram.edges.length - 1] ?? 1) : Math.max(4 * Math.abs(value), 1);
  const high = setting.high ?? Math.max(largest, 2 * value, low + 1);
  const step = isWhole(setting) ? 1 : 10 ** Math.floor(Math.log10((high - low) / 200));
  return { low, high, step };
}

/** The outline of a histogram in a box: x from `low` to `high` of the slider, so that both say the same place. */
export function outlineOf(histogram: Histogram, low: number, high: number, width: number, height: number): string {
  const most = Math.max(1, ...histogram.counts);
  const x = (value: number): number => (width * Math.min(Math.max(value - low, 0), high - low)) / (high - low || 1);
  const steps = histogram.counts.map((count, n) => {
    const y = height - (height * Math.sqrt(count / most));
    return `L${x(histogram.edges[n] ?? 0).toFixed(1)} ${y.toFixed(1)}L${x(histogram.edges[n + 1] ?? 0).toFixed(1)} ${y.toFixed(1)}`;
  });
  const first = x(histogram.edges[0] ?? 0).toFixed(1);
  const last = x(histogram.edges[histogram.edges.length - 1] ?? 0).toFixed(1);
  return `M${first} ${height}${steps.join('')}L${last} ${height}Z`;
}
