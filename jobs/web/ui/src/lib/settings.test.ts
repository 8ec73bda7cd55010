import { expect, test } from 'vitest';
import { atFields, edited, settingsOf, shell, stagesOf, written, wrongWith, yamlOf, type FormSetting, type FormStage } from './settings';

const setting = (key: string, form: FormSetting['form'], more: Partial<FormSetting> = {}): FormSetting => ({
  key, form, value: null, default: null, kind: form === 'text' ? 'text' : form, none: false, choices: [], unit: '', low: null, high: null, text: '', ...more,
});
const dark = setting('curation.dark_mean', 'number', { value: 32, kind: 'number from 0 to 255', low: 0, high: 255 });

test('what is as the profile has it is no edit', () => {
  expect(edited({}, dark, '40')).toEqual({ 'curation.dark_mean': '40' });
  expect(edited({ 'curation.dark_mean': '40' }, dark, '32')).toEqual({});
});

test('values are written as YAML reads them', () => {
  expect(written(dark, ' 40 ')).toBe('40');
  expect(written(setting('caption.prompt', 'text'), 'a photo: of')).toBe('"a photo: of"');
  expect(written(setting('embed.weights', 'text'), 'no')).toBe('"no"');
  expect(written(setting('embed.weights', 'text'), 'a/b-c')).toBe('a/b-c');
  expect(written(setting('embed.model', 'text', { none: true }), '')).toBe('null');
  expect(written(setting('ingest.fps', 'text', { kind: 'number above 0 or `native`, `keyframes`' }), '5')).toBe('5');
  expect(written(setting('when.annotate', 'text'), 'curation.keep')).toBe('curation.keep');
  expect(written(setting('annotate.prompts', 'list'), 'a car, dog')).toBe('["a car", dog]');
});

test('what a page can know to be wrong is said at once', () => {
  expect(wrongWith(dark, '40')).toBe(null);
  expect(wrongWith(dark, '999')).toBe('expected number from 0 to 255, found 999');
  expect(wrongWith(dark, 'x')).toBe('expected number from 0 to 255, found x');
  expect(wrongWith(dark, '')).toBe('expected number from 0 to 255');
  expect(wrongWith(setting('idle.threshold', 'number', { kind: 'number above 0 to 1', low: 0, high: 1 }), '0')).not.toBe(null);
  expect(wrongWith(setting('ingest.stride', 'integer', { low: 1, kind: 'integer from 1' }), '1.5')).not.toBe(null);
});

test('only what differs is sent', () => {
  const sections = [{ name: 'curation', text: '', stages: [], settings: [dark] }];
  expect(settingsOf(sections, {})).toEqual([]);
  expect(settingsOf(sections, { 'curation.dark_mean': '40' })).toEqual(['curation.dark_mean=40']);
});

test('stages are added to those of a profile, or all are named', () => {
  const stage = (name: string, chosen: boolean): FormStage => ({ name, text: '', optional: !chosen, chosen, runs: chosen });
  const stages = [stage('frames', true), stage('idle', true), stage('track', false)];
  expect(stagesOf(stages, new Set(['frames', 'idle', 'track']))).toEqual({ add: ['track'], settings: [] });
  expect(stagesOf(stages, new Set(['frames']))).toEqual({ add: [], settings: ['stages=[frames]'] });
});

test('a command and a file say the same', () => {
  expect(shell(['winnow', 'run', '--set', "when.annotate=it's"])).toBe(`winnow run --set 'when.annotate=it'\\''s'`);
  expect(yamlOf('quality', ['unit_frames=512', 'curation.dark_mean=40', 'when.annotate=curation.keep'], ['track'])).toBe(
    'profile: quality\nunit_frames: 512\nstages: [+track]\ncuration:\n  dark_mean: 40\nwhen:\n  annotate: "curation.keep"\n',
  );
});

test('lines of a refusal are at the fields that they name', () => {
  const keys = ['curation.dark_mean', 'annotate.weights', 'inputs', 'limit', 'stages', 'cron'];
  const lines = [
    'curation.dark_mean: input should be less than or equal to 255, found 999',
    "settings: 'annotate.weights=/etc/passwd': paths, addresses and texts are set by admins of the server",
    "unknown key 'curation.dark_meen' (did you mean 'curation.dark_mean'?)",
    '/data/cam1 does not exist',
    'options.limit: input should be greater than or equal to 0, found -1',
    "--set curation.dark_mean changes stage curation, which is above --from annotate",
    "--cron 'at night': expected minute, hour",
    'something else',
  ];
  expect(atFields(lines, keys, ['/data/cam1'])).toEqual({
    'curation.dark_mean': [lines[0], lines[5]],
    'annotate.weights': [lines[1]],
    settings: [lines[2]],
    inputs: [lines[3]],
    limit: [lines[4]],
    cron: [lines[6]],
    '': [lines[7]],
  });
});
