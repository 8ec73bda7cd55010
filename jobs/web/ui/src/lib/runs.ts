// Runs as a tree: each below the one that it replays, with what changed on the way.

import type { JobState } from './types';

export interface RunRow {
  job_id: string;
  state: JobState;
  parent: string | null;
  profile: string | null;
  inputs: string[];
  frames: number | null;
  kept: number | null;
  seconds: number | null;
  started_ns: number | null;
  error: string | null;
  /** How it derives from its parent, in words. */
  asked: string | null;
  changed: Record<string, [unknown, unknown]>;
}

export interface Runs {
  runs: RunRow[];
  /** Of how many stages and streams the tables show the rows of a run. */
  current: Record<string, number>;
}

export interface Node {
  run: RunRow;
  depth: number;
  /** For each level above, whether its line goes on below this row. */
  rails: readonly boolean[];
  isLast: boolean;
}

/** The tree in rows: roots with the newest first, below each its replays in order. */
export function treeOf(runs: readonly RunRow[]): Node[] {
  const known = new Set(runs.map((each) => each.job_id));
  const children = new Map<string | null, RunRow[]>();
  for (const run of runs) {
    // A run whose parent was cleared stands by itself.
    const above = run.parent !== null && known.has(run.parent) && run.parent !== run.job_id ? run.parent : null;
    children.set(above, [...(children.get(above) ?? []), run]);
  }
  const found: Node[] = [];
  const walk = (run: RunRow, depth: number, rails: readonly boolean[], isLast: boolean): void => {
    found.push({ run, depth, rails, isLast });
    const below = children.get(run.job_id) ?? [];
    below.forEach((each, at) => walk(each, depth + 1, depth ? [...rails, !isLast] : rails, at === below.length - 1));
  };
  for (const root of [...(children.get(null) ?? [])].reverse()) walk(root, 0, [], true);
  return found;
}

export interface StageDiff {
  differing: number;
  same_rows: boolean;
  n_before?: number;
  n_after?: number;
  added?: number;
  gone?: number;
  changed?: number;
  columns?: Record<string, number>;
  verdicts?: Partial<Record<'newly_dropped' | 'newly_kept', Record<string, number>>>;
}

export interface RunDiff {
  runs: [string, string];
  same: boolean;
  parameters: Record<string, [unknown, unknown]>;
  stages: Record<string, StageDiff>;
}

/** How many frames changed sides, and for what reasons. */
export function sides(diff: RunDiff): { dropped: number; kept: number; reasons: [string, number][] } {
  const verdicts = diff.stages.curation?.verdicts ?? {};
  const reasons = new Map<string, number>();
  for (const side of Object.values(verdicts)) {
    for (const [reason, frames] of Object.entries(side ?? {})) if (reason !== 'frames') reasons.set(reason, (reasons.get(reason) ?? 0) + frames);
  }
  return { dropped: verdicts.newly_dropped?.frames ?? 0, kept: verdicts.newly_kept?.frames ?? 0, reasons: [...reasons] };
}

/** How a job descends from another, as its details say. */
export interface Descent {
  parent: string;
  start: string;
  promote: boolean;
  recompute: string | null;
  quarantined: boolean;
  changed: Record<string, [unknown, unknown]>;
}

export function inWords(descent: Descent): string {
  if (descent.recompute) return `computes ${descent.recompute} again`;
  if (descent.quarantined) return 'tries quarantined frames again';
  return `replays from ${descent.start}`;
}
