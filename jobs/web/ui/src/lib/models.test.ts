import { describe, expect, it } from 'vitest';
import { byName, difference, lineage, versionAt, type AliasChange, type ModelVersion } from './models';

const version = (name: string, number: number, more: Partial<ModelVersion> = {}): ModelVersion => ({
  name, version: number, model_id: `${name}${number}`, job_id: 'j', release: 'v1', detector: 'd-fine', classes: [], best_epoch: 1, note: null,
  base: 'dfine-nano', base_hash: 'published', licence: 'Apache-2.0', seconds: 1, params: {}, metrics: {}, aliases: [], created_at: '', evaluations: [], onnx: null, ...more,
});
const change = (number: number, to: number, at: string, alias = 'champion'): AliasChange => ({
  name: 'yard', alias, number, version: to, previous: null, by: 'ann', reason: null, is_forced: false, at, evaluation_id: null,
});

describe('models', () => {
  it('says who was champion at a time', () => {
    const history = [change(1, 1, '2026-01-01T00:00:00Z'), change(1, 9, '2026-01-02T00:00:00Z', 'canary'), change(2, 3, '2026-02-01T00:00:00Z'), change(3, 1, '2026-03-01T00:00:00Z')];
    expect(versionAt(history, 'champion', '2025-12-31T23:59:59Z')).toBeNull();
    expect(versionAt(history, 'champion', '2026-01-15T00:00:00Z')).toBe(1);
    expect(versionAt(history, 'champion', '2026-02-01T00:00:00Z')).toBe(3);
    expect(versionAt(history, 'champion', '2030-01-01T00:00:00Z')).toBe(1);
  });

  it('takes changes in the order of their numbers where a clock was set back', () => {
    const history = [change(1, 1, '2026-02-01T00:00:00Z'), change(2, 2, '2026-01-01T00:00:00Z')];
    expect(versionAt(history, 'champion', '2026-01-15T00:00:00Z')).toBeNull();
    expect(versionAt(history, 'champion', '2026-02-01T00:00:00Z')).toBe(2);
  });

  it('follows what a version was made from, also in a circle', () => {
    const one = version('yard', 1);
    const two = version('yard', 2, { base: 'models:yard@1', base_hash: 'yard1' });
    const found = lineage([one, two], two);
    expect([found.versions.map((each) => each.version), found.base]).toEqual([[1], 'dfine-nano']);
    const own = version('odd', 1, { base_hash: 'odd1' });
    expect(lineage([own], own).versions).toEqual([]);
  });

  it('lists the newest version first', () => {
    const found = byName([version('b', 1), version('a', 1), version('a', 2)]);
    expect(found.map((each) => [each.name, each.versions.map((one) => one.version)])).toEqual([['a', [2, 1]], ['b', [1]]]);
  });

  it('writes differences with a sign', () => {
    expect(difference({ mean: 0.05, low: -0.01, high: null })).toBe('+0.050 (−0.010 to –)');
  });
});
