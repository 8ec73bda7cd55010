// Versions of models: aliases over time, what a version was made from, and the evidence for it.

import type { FrameNumber, FrameObject } from './types';

export interface ListedEvaluation {
  evaluation_id: string;
  model_id: string;
  name: string;
  version: number;
  release: string;
  split: string;
  frames: number;
  objects: number;
  units: number;
  ap: number | null;
  ap50: number | null;
  created_at: string;
}

export interface ModelVersion {
  name: string;
  version: number;
  model_id: string;
  job_id: string;
  release: string | null;
  detector: string;
  classes: readonly string[];
  best_epoch: number | null;
  note: string | null;
  base: string | null;
  base_hash: string | null;
  licence: string | null;
  seconds: number | null;
  params: Record<string, unknown>;
  metrics: Record<string, number>;
  aliases: readonly string[];
  created_at: string;
  evaluations: readonly ListedEvaluation[];
  onnx: { file: string | null; reason: string | null; frames: number; boxes: number } | null;
}

export interface AliasChange {
  name: string;
  alias: string;
  number: number;
  version: number;
  previous: number | null;
  by: string;
  reason: string | null;
  is_forced: boolean;
  at: string;
  evaluation_id: string | null;
}

export interface Clause {
  name: string;
  holds: boolean;
  text: string;
}

export interface Evidence {
  holds: boolean;
  clauses: readonly Clause[];
  evaluation_id: string | null;
  /** The version that is champion now, 0 for none. */
  champion: number;
}

export interface Threshold {
  score: number;
  precision: number;
  recall: number;
  f1?: number;
}

export interface EvaluationReport {
  calibration?: readonly { n: number; score: number | null; precision: number | null }[];
  calibration_error?: number | null;
  thresholds?: Record<string, Record<string, Threshold | null>>;
  confusion?: { categories: readonly string[]; rows: readonly (readonly number[])[] };
  other_categories?: readonly string[];
  unseen?: number;
}

export interface Comparison {
  evaluation_id: string;
  against_id: string;
  verdict: string;
  difference: number | null;
  low: number | null;
  high: number | null;
  units: number;
  draws: number;
  classes: Record<string, { objects: number; mean: number | null; low: number | null; high: number | null }>;
  created_at: string;
}

export interface Evaluation extends ListedEvaluation {
  min_score: number;
  ms_per_frame: number;
  report: EvaluationReport;
  uses: number;
  /** The selection of the frames with the most errors; null for none. */
  worst: string | null;
  figures: Record<'all' | 'category' | 'stream' | 'hour', Record<string, Record<string, number | null>>>;
  comparisons: readonly Comparison[];
}

/** The versions of each model, the newest first, by name. */
export function byName(versions: readonly ModelVersion[]): { name: string; versions: ModelVersion[] }[] {
  const names = [...new Set(versions.map((each) => each.name))].sort();
  return names.map((name) => ({
    name,
    versions: versions.filter((each) => each.name === name).sort((one, other) => other.version - one.version),
  }));
}

/** The version that an alias referred to at a time (ISO 8601); null for none. */
export function versionAt(history: readonly AliasChange[], alias: string, time: string): number | null {
  const at = new Date(time).getTime();
  let found: number | null = null;
  let last = -Infinity;
  for (const change of history) {
    if (change.alias !== alias) continue;
    // As the server orders them: those of one alias by their numbers, also where the clock was set back.
    last = Math.max(last, new Date(change.at).getTime());
    if (last <= at) found = change.version;
  }
  return found;
}

/** What a version was made from, and what that was made from: versions, then the base that is none of ours. */
export function lineage(versions: readonly ModelVersion[], of: ModelVersion): { versions: ModelVersion[]; base: string | null } {
  const found: ModelVersion[] = [];
  let now: ModelVersion | undefined = of;
  let base: string | null = of.base;
  while (now) {
    base = now.base;
    const hash: string | null = now.base_hash;
    now = versions.find((each) => hash && each.model_id === hash && each !== of && !found.includes(each));
    if (now) found.push(now);
  }
  return { versions: found, base };
}

/** The newest evaluation of a version; undefined where there is none. */
export const newestOf = (version: ModelVersion): ListedEvaluation | undefined =>
  [...version.evaluations].sort((one, other) => other.created_at.localeCompare(one.created_at))[0];

/** What the verdict of a comparison says, in words. */
export function verdictOf(verdict: string): string {
  const words: Record<string, string> = { better: 'better', not_better: 'not better for sure', worse: 'worse', cannot_tell: 'cannot tell: too few streams or scenes' };
  return words[verdict] ?? verdict;
}

/** A difference with its bounds, as +0.050 (+0.010 to +0.090). */
export function difference(of: { mean: number | null; low: number | null; high: number | null }): string {
  const signed = (value: number | null): string => (value === null ? '–' : `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`);
  return `${signed(of.mean)} (${signed(of.low)} to ${signed(of.high)})`;
}

export interface FoundBox {
  category: string;
  bbox_x: number;
  bbox_y: number;
  bbox_w: number;
  bbox_h: number;
  score?: number;
  /** Whether the other model has found no such box. */
  alone?: boolean;
}

interface FoundSide {
  correct: number;
  wrong: number;
  missed: number;
  found: readonly FoundBox[];
}

export interface MeasuredFrame extends FoundSide {
  stream_id: string;
  frame_idx: FrameNumber;
  h: string | null;
  width: number | null;
  height: number | null;
  is_current: boolean;
  labelled: readonly FoundBox[];
  other?: FoundSide;
  disagreements?: number;
}

/** Boxes as they are drawn over a frame. */
export const asObjects = (boxes: readonly FoundBox[]): FrameObject[] =>
  boxes.map((box, at) => ({
    annotation_id: String(at), category: box.category, score: box.score ?? null, bbox: [box.bbox_x, box.bbox_y, box.bbox_w, box.bbox_h],
    polygons: null, track_id: null, source: null, model: null,
  }));
