import { expect, test } from 'vitest';
import { commandOf } from './plan';

test('options are words of the command line', () => {
  expect(commandOf({ inputs: ['/a', '/b'] })).toEqual(['winnow', 'run', '--input', '/a', '--input', '/b']);
  expect(commandOf({ inputs: ['/a'], profile: 'curate', settings: ['idle.window=7'], add_stages: ['track'], limit: 5, strict: true, on_error: 'abort' })).toEqual([
    'winnow', 'run', '--input', '/a', '--profile', 'curate', '--set', 'idle.window=7', '--add-stage', 'track', '--strict', '--limit', '5', '--on-error', 'abort',
  ]);
});
