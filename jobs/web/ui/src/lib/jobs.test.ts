import { expect, test } from 'vitest';
import { actions, after, made, progress } from './jobs';
import type { Job } from './types';

const job = (job_id: string, state: Job['state'] = 'running'): Job => ({
  job_id, state, number: 3, parent: null, profile: 'quality', priority: 0, submitted_at: null, started_at: null, ended_at: null,
  stage: 'quality', done: 10, total: 40, frames_per_second: 5, eta_s: 6, asked: null, error: null, inputs: [], kind: 'run', result: null,
});

test('what can be asked of a job follows from its state', () => {
  expect(actions(job('a', 'pending'))).toEqual(['pause', 'cancel']);
  expect(actions(job('a', 'paused'))).toContain('resume');
  expect(actions(job('a', 'done'))).toEqual(['clear']);
  expect(actions(job('a', 'failed'))).toEqual(['resume', 'clear']);
  expect(actions({ ...job('a'), asked: 'pause' })).toEqual(['resume', 'cancel']);
  expect(actions({ ...job('a'), asked: 'cancel' })).toEqual([]);
});

test('a training is stopped with its best epoch, not stepped', () => {
  const training = { ...job('a'), kind: 'train' };
  expect(actions(training)).toEqual(['pause', 'stop', 'cancel']);
  expect(actions({ ...training, asked: 'stop' })).toEqual(['cancel']);
  expect(actions({ ...training, state: 'paused' as const })).toEqual(['resume', 'cancel']);
  expect(made({ job_id: 'x', kind: 'train', result: { model: 'yard@3' } })).toMatchObject({ rest: 'trainings/x', text: 'Model yard@3.' });
});

test('an event changes the job that it names and nothing else', () => {
  const jobs = [job('a'), job('b')];
  const found = after(jobs, { project: 'p', job_id: 'b', state: 'paused', done: 12 });
  expect(found?.[0]).toBe(jobs[0]);
  expect([found?.[1]?.state, found?.[1]?.done, found?.[1]?.total, found?.[1]?.profile]).toEqual(['paused', 12, 40, 'quality']);
  expect(after(jobs, { job_id: 'c', state: 'pending' })).toBeNull();
});

test('progress is a share, or unknown', () => {
  expect([progress(job('a')), progress({ done: 50, total: 40 }), progress({ done: 1, total: null }), progress({ done: 0, total: 0 })]).toEqual(
    [0.25, 1, null, null],
  );
});

test('what a job has made is on the page that its kind says', () => {
  expect(made(job('a', 'done'))).toBeNull();
  expect(made({ job_id: 'x', kind: 'release', result: { name: 'v 1' } })).toMatchObject({ page: 'datasets', rest: 'releases/v 1', text: 'Release v 1.' });
  expect(made({ job_id: 'x', kind: 'export', result: { frames: 1200 } })).toMatchObject({ rest: 'exports/x', text: 'An export of 1,200 frames.' });
  expect(made({ job_id: 'x', kind: 'select', result: null })).toBeNull();
});
