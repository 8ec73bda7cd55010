// Selections, releases and exports: what the server says of them, and what forms ask it for.

import type { FrameNumber, Job } from './types';

export type TaskKind = 'select' | 'release' | 'export' | 'map';
export const TASK_KINDS: readonly TaskKind[] = ['select', 'release', 'export'];

export interface TaskResult {
  name?: string;
  frames?: number;
  of?: number;
  splits?: Record<string, number>;
  objects?: number | null;
  bytes?: number;
  format?: string;
  release?: string | null;
}

export interface TaskJob extends Job {
  kind: string;
  result: TaskResult | null;
}

export interface Selection {
  name: string;
  frames: number;
  strategy: string;
  streams: number;
  created_at: string | null;
}

export interface Release {
  name: string;
  note: string | null;
  job_id: string | null;
  created_at: string | null;
}

export interface Leaks {
  frames: number;
  distance: { min: number | null; p05: number | null; median: number | null; within_step: number | null };
  without_distance: number;
  tracks: { in_it: number; in_both: number };
  groups: { in_it: number; in_both: number };
  leaking: { frames: number; share: number };
}

/** How far splits leak, compared with the one that models are trained on. */
export interface LeakReport {
  against: string;
  of: Record<string, Leaks>;
  /** Objects by class and split. */
  classes: Record<string, Record<string, number>>;
}

export interface ReleaseFigures extends Release {
  frames: number;
  kept: number;
  reasons: Record<string, number>;
  classes: Record<string, number>;
  reviewed_frames: Record<string, number>;
  splits: (LeakReport & { seed: number; frames: Record<string, number> })[];
  references: string[];
}

export interface Export extends TaskJob {
  is_there: boolean;
}

export interface Way {
  by: string;
  block?: string;
  guard?: string;
}

export interface ExportFigures {
  format: string;
  frames: Record<string, number>;
  objects?: number;
  class_counts?: Record<string, number>;
  not_annotated?: number;
  media: string;
  content: string;
  source: { release: string | null; run: string | null };
  selection: { name: string; frames: number; left_out: number } | null;
  split_report?: LeakReport & {
    streams: Record<string, Way>;
    left_out: Record<string, number>;
    given_by_release: Record<string, number>;
    duplicates_unknown: string[];
    shares?: Record<string, { requested: number; found: number }>;
    /** Tracks of which no division leaves enough frames; absent from exports of earlier versions. */
    tracks_in_several?: { stream_id: string; track_id: number; frames: number }[];
  };
  [more: string]: unknown;
}

export interface ExportDetail extends Export {
  options: Record<string, unknown> | null;
  figures: ExportFigures | null;
  command: string[] | null;
}

export interface Choices {
  formats: { name: string; media: string[]; default_media: string; needs_masks: boolean }[];
  split_by: string[];
  strategies: string[];
  balance: string[];
  by: string[];
  classes: Record<string, number>;
  runs: string[];
  release_name: string;
  can_export: boolean;
}

export interface ClassChanges {
  before: number;
  after: number;
  added: number;
  removed: number;
  relabelled: number;
  moved: number;
  reviewed: number;
}

export interface ReleaseDiff {
  before: string;
  after: string;
  added: number;
  gone: number;
  changed: number;
  newly_kept: number;
  newly_dropped: number;
  kept_before: number;
  kept_after: number;
  newly_dropped_for: Record<string, number>;
  labels: {
    classes: Record<string, ClassChanges>;
    relabelled: Record<string, number>;
    moved_iou: number | null;
    reviewed_frames: Record<string, number>;
  };
}

export interface DiffObject {
  annotation_id: string;
  category: string;
  score: number | null;
  bbox: [number, number, number, number];
  changed: boolean;
}

export interface DiffSide {
  h: string | null;
  width: number | null;
  height: number | null;
  keep: boolean | null;
  reasons: string[];
  objects: DiffObject[];
}

export interface DiffFrame {
  stream_id: string;
  frame_idx: FrameNumber;
  before: DiffSide | null;
  after: DiffSide | null;
}

export const FRAME_CHANGES = [
  ['added', 'added', 'frames that were not there'],
  ['gone', 'gone', 'frames that are not there any more'],
  ['changed', 'other content', 'frames whose file holds another image'],
  ['newly_kept', 'newly kept', 'frames that were dropped'],
  ['newly_dropped', 'newly dropped', 'frames that were kept'],
] as const;

export const LABEL_CHANGES = ['added', 'removed', 'relabelled', 'moved', 'reviewed'] as const;

/** The words of a command as a shell takes them. */
export const shellWords = (words: readonly string[]): string =>
  words.map((word) => (/^[\w.=+:@,/-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');

export interface Part {
  name: string;
  share: number | null;
}

/** What is wrong with the parts of a split; null where nothing is. */
export function wrongParts(parts: readonly Part[]): string | null {
  const names = parts.map((each) => each.name.trim());
  if (names.some((name) => !/^[\p{L}_][\p{L}\p{N}_]*$/u.test(name))) return 'Name each part, with letters, digits and underscores.';
  if (new Set(names).size < names.length) return 'Two parts have the same name.';
  if (parts.some((each) => !(each.share !== null && each.share > 0))) return 'Each part has a share above 0 %.';
  const sum = parts.reduce((total, each) => total + (each.share ?? 0), 0);
  return Math.abs(sum - 100) > 1e-6 ? `The shares add up to ${Number(sum.toFixed(4))} %, expected 100 %.` : null;
}

/** The parts of a split as requests take them: fractions of 1. */
export const fractions = (parts: readonly Part[]): Record<string, number> =>
  Object.fromEntries(parts.map((each) => [each.name.trim(), (each.share ?? 0) / 100]));

/** What a form says, without what it leaves open. */
export function given(options: Record<string, unknown>): Record<string, unknown> {
  const isOpen = (value: unknown): boolean =>
    value === '' || value === null || value === undefined || value === false || (Array.isArray(value) && value.length === 0);
  return Object.fromEntries(Object.entries(options).filter(([, value]) => !isOpen(value)));
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let size = value;
  let at = 0;
  while (size >= 1000 && at < units.length - 1) {
    size /= 1000;
    at += 1;
  }
  return `${at === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[at]}`;
}

/** The splits of an export in words; those of one set have no names that say anything. */
export function splitsOf(frames: Record<string, number>): string {
  const names = Object.keys(frames);
  if (names.length === 1 && names[0] === 'default') return 'one set';
  return Object.entries(frames).map(([name, n]) => `${n.toLocaleString('en')} ${name}`).join(', ');
}

/** Difference from the requested share of a split, as a fraction of it, from which on it is shown. */
const FAR = 0.25;

/** What to say where a split has far from the share of frames that was requested; '' where none has. */
export function unlikeShares(shares: Record<string, { requested: number; found: number }> | undefined): string {
  const all = Object.entries(shares ?? {});
  if (!all.some(([, each]) => Math.abs(each.found - each.requested) > FAR * each.requested)) return '';
  const named = all.map(([name, each]) => `${name} ${(100 * each.found).toFixed(1)}% (${Math.round(100 * each.requested)}% requested)`);
  return `shares differ from what was requested: ${named.join(', ')}, since whole parts are divided`;
}
