// What is shown of the frames: the filters that an address holds, as requests take them.

import type { Query } from './api';
import type { FrameName } from './types';

export const FILTERS = ['stream', 'keep', 'reason', 'category', 'hour', 'where', 'sort'] as const;
export type Filter = (typeof FILTERS)[number];

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

export function filtersOf(query: URLSearchParams): Record<Filter, string> {
  return Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ''])) as Record<Filter, string>;
}

export function asQuery(filters: Record<Filter, string>): Query {
  return Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== ''));
}

/** The frame that an address names as NUMBER@STREAM; a stream's name may hold any characters. */
export function frameOf(text: string | null): FrameName | null {
  const found = text ? /^(\d+)@(.+)$/s.exec(text) : null;
  if (!found) return null;
  const [, digits = '', stream_id = ''] = found;
  // Larger numbers stay texts, which are exact.
  return { frame_idx: Number.isSafeInteger(Number(digits)) ? Number(digits) : digits, stream_id };
}

export const nameOf = (frame: FrameName): string => `${frame.frame_idx}@${frame.stream_id}`;
