import { describe, expect, it } from 'vitest';
import { bytes, fractions, given, shellWords, splitsOf, unlikeShares, wrongParts } from './datasets';

describe('forms of datasets', () => {
  it('writes words as a shell takes them', () => {
    expect(shellWords(['winnow', '--where', "stream_id = 'it''s'", 'a=0.5,b=0.5'])).toBe(
      `winnow --where 'stream_id = '\\''it'\\'''\\''s'\\''' a=0.5,b=0.5`,
    );
  });

  it('says what is wrong with the parts of a split', () => {
    expect(wrongParts([{ name: 'train', share: 80 }, { name: 'val', share: 20 }])).toBeNull();
    expect(wrongParts([{ name: 'train', share: 80 }, { name: 'val', share: 10 }])).toContain('90 %');
    expect(wrongParts([{ name: 'a', share: 50 }, { name: ' a', share: 50 }])).toContain('same name');
    expect(wrongParts([{ name: '../a', share: 100 }])).toContain('letters');
    expect(wrongParts([{ name: 'a', share: 100 }, { name: 'b', share: null }])).toContain('above 0');
    expect(fractions([{ name: ' train ', share: 80 }, { name: 'val', share: 20 }])).toEqual({ train: 0.8, val: 0.2 });
  });

  it('leaves out what a form leaves open, and no zero', () => {
    expect(given({ a: '', b: null, c: false, d: [], e: 0, f: 'x', g: true })).toEqual({ e: 0, f: 'x', g: true });
  });

  it('writes sizes', () => {
    expect([splitsOf({ default: 5 }), splitsOf({ train: 1200, val: 3 })]).toEqual(['one set', '1,200 train, 3 val']);
    expect([0, 999, 1234, 45_600_000, 123_456_789].map(bytes)).toEqual(['0 B', '999 B', '1.2 KB', '45.6 MB', '123 MB']);
  });
});

it('says where shares of splits are far from what was requested', () => {
  expect(unlikeShares(undefined)).toBe('');
  expect(unlikeShares({ train: { requested: 0.8, found: 0.77 }, val: { requested: 0.2, found: 0.23 } })).toBe('');
  expect(unlikeShares({ train: { requested: 0.8, found: 0.944 }, val: { requested: 0.2, found: 0.056 } })).toBe(
    'shares differ from what was requested: train 94.4% (80% requested), val 5.6% (20% requested), since whole parts are divided',
  );
});
