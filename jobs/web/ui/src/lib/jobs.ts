// What may be asked of a job in which state, and what an event changes in a list of jobs.

import { plural } from './format';
import type { TaskResult } from './datasets';
import type { Job, JobState } from './types';

export type Action = 'pause' | 'resume' | 'step' | 'stop' | 'cancel' | 'clear';

const ALLOWED: Record<JobState, readonly Action[]> = {
  pending: ['pause', 'cancel'],
  running: ['pause', 'step', 'cancel'],
  paused: ['resume', 'step', 'cancel'],
  failed: ['resume', 'clear'],
  done: ['clear'],
  cancelled: ['clear'],
};

/** What can be done with a job; while a pause is requested, it can be withdrawn. */
export function actions(job: Pick<Job, 'state' | 'asked'> & { kind?: string }): readonly Action[] {
  // A training has one stage: it is stopped instead, and keeps its best epoch.
  const allowed = (ALLOWED[job.state] ?? []).flatMap((action) => (job.kind !== 'train' || action !== 'step' ? [action] : job.state === 'running' ? ['stop' as const] : []));
  if (job.state !== 'running' || !job.asked) return allowed;
  if (job.asked === 'pause') return ['resume', 'cancel'];
  if (job.asked === 'stop') return ['cancel'];
  return job.asked === 'cancel' ? [] : allowed;
}

export const isOver = (state: string): boolean => ['done', 'failed', 'cancelled'].includes(state);

const FIELDS = ['state', 'number', 'started_at', 'ended_at', 'stage', 'done', 'total', 'frames_per_second', 'eta_s', 'asked', 'error'] as const;

/** The list after an event; null where the event is of a job that is not in it, so that it has to be asked for. */
export function after(jobs: readonly Job[], event: Record<string, unknown>): Job[] | null {
  const at = jobs.findIndex((each) => each.job_id === event.job_id);
  if (at < 0) return null;
  const given = Object.fromEntries(FIELDS.filter((name) => name in event).map((name) => [name, event[name]]));
  return jobs.map((each, n) => (n === at ? { ...each, ...given } : each));
}

export interface Made {
  /** The page of the project on which it is, and what follows in its address. */
  page: string;
  rest: string;
  label: string;
  text: string;
}

/** What a job that is no run has made, by its result; null for a run, and where nothing is known of it. */
export function made(job: Pick<Job, 'job_id' | 'kind' | 'result'>): Made | null {
  const found = job.result as TaskResult | null;
  const name = found?.name ?? '';
  const frames = found?.frames === undefined ? '' : ` of ${plural(found.frames, 'frame')}`;
  if (job.kind === 'export') return { page: 'datasets', rest: `exports/${job.job_id}`, label: 'Open the export', text: `An export${frames}.` };
  if (job.kind === 'release' && name) return { page: 'datasets', rest: `releases/${name}`, label: 'Open the release', text: `Release ${name}.` };
  if (job.kind === 'select' && name) return { page: 'datasets', rest: 'selections', label: 'Open the selections', text: `Selection ${name}${frames}.` };
  if (job.kind === 'train') {
    const model = (job.result as { model?: string } | null)?.model;
    return { page: 'models', rest: `trainings/${job.job_id}`, label: 'Open the training', text: model ? `Model ${model}.` : 'A model.' };
  }
  if (job.kind === 'map') return { page: 'map', rest: '', label: 'Open the map', text: `A map${frames}.` };
  return null;
}

/** The share that a job has done of the stage it is in, from 0 to 1; null where that is not known. */
export function progress(job: Pick<Job, 'done' | 'total'>): number | null {
  if (job.done === null || job.total === null || job.done === undefined || !job.total) return null;
  return Math.min(1, job.done / job.total);
}
