import { describe, expect, it } from 'vitest';
import { asSetting, bestEpoch, classesAt, differing, merged, optionsOf, pointsOf, sharesOf, withValues, type Figure, type OptionSetting } from './trainings';

const option = (key: string, form: OptionSetting['form'], more: Partial<OptionSetting> = {}): OptionSetting => ({
  key, form, value: null, default: null, kind: form, none: false, choices: [], unit: '', low: null, high: null, text: '', needed: false, ...more,
});
const FORM = [
  option('release', 'text', { needed: true }),
  option('epochs', 'integer', { value: 50, default: 50, low: 1, high: 100, kind: 'integer from 1 to 100' }),
  option('pseudo', 'number', { none: true, low: 0, high: 1, kind: 'number from 0 to 1 or none' }),
  option('only_reviewed', 'switch', { value: false, default: false }),
  option('classes', 'list', { value: [], default: [] }),
  option('split', 'shares', { value: { train: 0.8, val: 0.2 }, default: { train: 0.8, val: 0.2 } }),
];
const figure = (epoch: number, name: string, value: number | null, category = '', split = 'val'): Figure => ({ epoch, split, name, category, value });

describe('the form of a training', () => {
  it('sends what was typed with the types of the options', () => {
    const edits = { release: 'v1', epochs: '7', pseudo: '0.6', only_reviewed: 'true', classes: 'car, van', split: 'train=0.5, val=0.5' };
    expect(optionsOf(FORM, edits)).toEqual({
      options: { release: 'v1', epochs: 7, pseudo: 0.6, only_reviewed: true, classes: ['car', 'van'], split: { train: 0.5, val: 0.5 } },
      wrong: {},
    });
  });

  it('leaves out what is as it was, and says what is wrong', () => {
    expect(optionsOf(FORM, { release: 'v1', pseudo: '' })).toEqual({ options: { release: 'v1', pseudo: null }, wrong: {} });
    const { wrong } = optionsOf(FORM, { release: ' ', epochs: '500', pseudo: 'x', split: 'train' });
    expect(Object.keys(wrong)).toEqual(['release', 'epochs', 'pseudo', 'split']);
    expect(wrong.epochs).toBe('expected integer from 1 to 100, found 500');
  });

  it('reads shares', () => {
    expect(sharesOf('train = 0.8,val=.2')).toEqual({ train: 0.8, val: 0.2 });
    expect(sharesOf('train=0.8, train=0.2')).toBeNull();
    expect(sharesOf('')).toBeNull();
    expect(asSetting(FORM[5] as OptionSetting).value).toBe('train=0.8, val=0.2');
  });

  it('takes over values, and forgets an edit that is the default again', () => {
    expect(withValues(FORM, { epochs: '7' }, { epochs: 50, release: 'v2', unknown: 1 })).toEqual({ release: 'v2' });
    expect(withValues(FORM, {}, { split: { train: 0.6, val: 0.4 }, pseudo: null })).toEqual({ split: 'train=0.6, val=0.4' });
  });
});

describe('figures of a training', () => {
  const known = [figure(1, 'AP', 0.2), figure(2, 'AP', 0.6), figure(3, 'AP', 0.6), figure(2, 'AP', 0.9, 'car'), figure(2, 'recall', 0.5, 'car'), figure(2, 'AP', null, 'bus')];

  it('has the first best epoch', () => {
    expect(bestEpoch(known)).toBe(2);
    expect(bestEpoch([figure(1, 'AP', null)])).toBeNull();
  });

  it('replaces epochs that were done again', () => {
    const now = merged(known, [figure(3, 'AP', 0.7), figure(4, 'AP', 0.1)]);
    expect(pointsOf(now, 'val', 'AP')).toEqual([[1, 0.2], [2, 0.6], [3, 0.7], [4, 0.1]]);
  });

  it('has a row for each category', () => {
    expect(classesAt(known, 2)).toEqual([
      { category: 'bus', AP: null, AP50: null, precision: null, recall: null },
      { category: 'car', AP: 0.9, AP50: null, precision: null, recall: 0.5 },
    ]);
  });

  it('says which options differ', () => {
    const all = [{ size: 640, seed: 0, split: { train: 0.8 } }, { size: 320, seed: 0, split: { train: 0.8 }, note: 'x' }];
    expect(differing(all)).toEqual([['size', [640, 320]], ['note', [null, 'x']]]);
    expect(differing([all[0] as Record<string, unknown>])).toEqual([]);
  });
});
