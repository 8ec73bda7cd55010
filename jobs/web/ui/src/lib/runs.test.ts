import { expect, test } from 'vitest';
import { sides, treeOf, type RunDiff, type RunRow } from './runs';

const run = (job_id: string, parent: string | null = null): RunRow => ({
  job_id, parent, state: 'done', profile: 'quality', inputs: [], frames: 1, kept: 1, seconds: 1, started_ns: 1, error: null, asked: null, changed: {},
});

test('a replay is below what it replays, and the newest root is first', () => {
  const found = treeOf([run('a'), run('b', 'a'), run('c', 'b'), run('d', 'a'), run('e'), run('f', 'cleared')]);
  expect(found.map((each) => [each.run.job_id, each.depth, each.isLast])).toEqual([
    ['f', 0, true], ['e', 0, true], ['a', 0, true], ['b', 1, false], ['c', 2, true], ['d', 1, true],
  ]);
  expect(found[4]?.rails).toEqual([true]);
});

test('sides are counted with their reasons', () => {
  const diff: RunDiff = {
    runs: ['a', 'b'], same: false, parameters: {},
    stages: { curation: { differing: 3, same_rows: false, verdicts: { newly_dropped: { frames: 2, dark: 2, idle: 1 }, newly_kept: { frames: 1, dark: 1 } } } },
  };
  expect(sides(diff)).toEqual({ dropped: 2, kept: 1, reasons: [['dark', 3], ['idle', 1]] });
});
