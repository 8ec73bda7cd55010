// What is shown of the frames: the filters that an address holds, as requests take them.

import type { Query } from './api';
import type { FrameName } from './types';

/** Filters of which several values may be chosen: a frame with any of them is shown. */
export const KINDS = ['stream', 'keep', 'reason', 'flag', 'category', 'hour', 'scene', 'caption', 'group', 'reviewed', 'selection'] as const;
export type Kind = (typeof KINDS)[number];

export type Filters = Record<Kind, string[]> & Record<'where' | 'score' | 'area' | 'sort', string>;

export const SORTS: readonly { value: string; label: string }[] = [
  { value: '', label: 'stream and number' },
  { value: 'time', label: 'time' },
  { value: '-time', label: 'time, latest first' },
  { value: 'sharpness', label: 'least sharp first' },
  { value: '-sharpness', label: 'sharpest first' },
  { value: 'luma', label: 'darkest first' },
  { value: '-luma', label: 'brightest first' },
  { value: 'motion', label: 'least motion first' },
  { value: '-motion', label: 'most motion first' },
];

export function filtersOf(query: URLSearchParams): Filters {
  const kinds = Object.fromEntries(KINDS.map((name) => [name, query.getAll(name).filter((each) => each !== '')]));
  const single = Object.fromEntries(['where', 'score', 'area', 'sort'].map((name) => [name, query.get(name) ?? '']));
  return { ...kinds, ...single } as Filters;
}

export const asQuery = (filters: Filters): Query =>
  Object.fromEntries(Object.entries(filters).filter(([, value]) => value.length > 0));

/** The values of a kind after a click on one of them: chosen in addition, or not any more. */
export const toggled = (chosen: readonly string[], value: string): string[] =>
  chosen.includes(value) ? chosen.filter((each) => each !== value) : [...chosen, value];

export const NO_FILTERS: Record<string, null> = Object.fromEntries(
  [...KINDS, 'where', 'score', 'area', 'frame'].map((name) => [name, null]),
);

/** The frame that an address names as NUMBER@STREAM; a stream's name may hold any characters. */
export function frameOf(text: string | null): FrameName | null {
  const found = text ? /^(\d+)@(.+)$/s.exec(text) : null;
  if (!found) return null;
  const [, digits = '', stream_id = ''] = found;
  // Larger numbers stay texts, which are exact.
  return { frame_idx: Number.isSafeInteger(Number(digits)) ? Number(digits) : digits, stream_id };
}

export const nameOf = (frame: FrameName): string => `${frame.frame_idx}@${frame.stream_id}`;
