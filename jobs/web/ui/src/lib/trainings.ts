// Trainings: their options as a form, their figures by epoch, and how several of them differ.

import type { Line, Point } from './chart';
import type { Edits, FormSetting, Value } from './settings';
import { typed, wrongWith } from './settings';
import type { FrameNumber, Job } from './types';

export interface OptionSetting extends Omit<FormSetting, 'form' | 'value' | 'default'> {
  form: FormSetting['form'] | 'shares';
  value: Value | Record<string, number>;
  default: Value | Record<string, number>;
  /** Whether it has to be given. */
  needed: boolean;
}

export interface Base {
  name: string;
  text: string;
  licence: string;
  /** Why it is not there, with the command that gets it. */
  problem: string | null;
}

export interface TrainingForm {
  options: readonly OptionSetting[];
  releases: readonly string[];
  models: readonly Base[];
  names: readonly string[];
  problems: readonly string[];
}

export interface Figure {
  epoch: number;
  split: string;
  name: string;
  category: string;
  value: number | null;
}

export interface TrainingJob extends Job {
  options: Record<string, unknown>;
}

export interface ListedTraining extends TrainingJob {
  epochs: number;
  best: { epoch: number; AP: number | null; AP50: number | null } | null;
  loss: number | null;
}

export interface TrainingPage extends TrainingJob {
  figures: readonly Figure[];
  last: number;
}

export interface SampleBox {
  category: string;
  score: number;
  bbox_x: number;
  bbox_y: number;
  bbox_w: number;
  bbox_h: number;
}

export interface Sample {
  epoch: number;
  stream_id: string;
  frame_idx: FrameNumber;
  boxes: readonly SampleBox[];
  h: string | null;
  width: number | null;
  height: number | null;
}

export interface ClassCount {
  frames: number;
  objects: number;
  streams: number;
}

export interface Preflight {
  release: string;
  images: Record<string, number>;
  without_objects: Record<string, number>;
  nobody_looked: Record<string, number>;
  reviewed_frames: Record<string, number> | number | null;
  classes: Record<string, { train: ClassCount; val: ClassCount; short_side_px: number[] | null; small: number; interval: number | null }>;
  leaking: Record<string, number>;
  warnings: readonly string[];
  recommended: readonly { option: string; value: number; reason: string }[];
  command: readonly string[];
  licence: string;
}

export interface TrainingEstimate {
  step_s: number;
  frame_s: number;
  minutes: number;
  memory_bytes: number;
}

const shares = (value: Record<string, number>): string =>
  Object.entries(value).map(([name, share]) => `${name}=${share}`).join(', ');

const isShares = (value: OptionSetting['value']): value is Record<string, number> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** An option as the fields of a form take it: shares as text. */
export function asSetting(option: OptionSetting): FormSetting {
  const plain = (value: OptionSetting['value']): Value => (isShares(value) ? shares(value) : value);
  const form = option.form === 'shares' ? 'text' : option.form;
  return { ...option, form, value: plain(option.value), default: plain(option.default) };
}

/** Shares by name, as `train=0.8, val=0.2`; null for what is none. */
export function sharesOf(text: string): Record<string, number> | null {
  const found: Record<string, number> = {};
  for (const part of text.split(',').map((each) => each.trim()).filter(Boolean)) {
    const [, name, share] = /^(\w+)\s*=\s*([\d.]+)$/.exec(part) ?? [];
    if (name === undefined || !Number.isFinite(Number(share)) || name in found) return null;
    found[name] = Number(share);
  }
  return Object.keys(found).length > 0 ? found : null;
}

/** What a form says as options of a request, and what is wrong with it, by option. What is as it was is left out. */
export function optionsOf(form: readonly OptionSetting[], edits: Edits): { options: Record<string, unknown>; wrong: Record<string, string> } {
  const options: Record<string, unknown> = {};
  const wrong: Record<string, string> = {};
  for (const option of form) {
    const text = edits[option.key];
    if (text === undefined || (option.needed && text.trim() === '')) {
      if (option.needed) wrong[option.key] = 'required';
      continue;
    }
    if (option.form === 'shares') {
      const found = sharesOf(text);
      if (found) options[option.key] = found;
      else wrong[option.key] = `expected shares as train=0.8, val=0.2, found ${text}`;
      continue;
    }
    const problem = wrongWith(asSetting(option), text);
    if (problem !== null) wrong[option.key] = problem;
    else options[option.key] = valueOf(option, text);
  }
  return { options, wrong };
}

function valueOf(option: OptionSetting, text: string): unknown {
  if (text.trim() === '' && option.none) return null;
  if (option.form === 'integer' || option.form === 'number') return Number(text);
  if (option.form === 'switch') return text === 'true';
  if (option.form === 'list' || option.form === 'choices') return text.split(',').map((part) => part.trim()).filter(Boolean);
  return text.trim();
}

/** The edits of a form after values were given to it, as a recommendation or an earlier training has them. */
export function withValues(form: readonly OptionSetting[], edits: Edits, values: Record<string, unknown>): Edits {
  const next = { ...edits };
  for (const option of form) {
    if (!(option.key in values)) continue;
    const value = values[option.key] as OptionSetting['value'];
    const text = isShares(value) ? shares(value) : typed(value ?? null);
    if (!option.needed && text === typed(asSetting(option).value)) delete next[option.key];
    else next[option.key] = text;
  }
  return next;
}

/** The points of a figure over epochs. */
export function pointsOf(figures: readonly Figure[], split: string, name: string, category = ''): Point[] {
  return figures
    .filter((each) => each.split === split && each.name === name && each.category === category)
    .map((each): Point => [each.epoch, each.value])
    .sort((one, other) => one[0] - other[0]);
}

/** Figures of epochs together with newer ones, which replace those of the same epochs. */
export function merged(known: readonly Figure[], newer: readonly Figure[]): Figure[] {
  const epochs = new Set(newer.map((each) => each.epoch));
  return [...known.filter((each) => !epochs.has(each.epoch)), ...newer];
}

/** The epoch of the highest AP, the first of several; null where none was measured. */
export function bestEpoch(figures: readonly Figure[]): number | null {
  let best: Point | null = null;
  for (const point of pointsOf(figures, 'val', 'AP')) {
    if (point[1] !== null && (best === null || point[1] > (best[1] ?? -1))) best = point;
  }
  return best === null ? null : best[0];
}

export interface ClassFigures {
  category: string;
  AP: number | null;
  AP50: number | null;
  precision: number | null;
  recall: number | null;
}

/** The figures of each category after an epoch. */
export function classesAt(figures: readonly Figure[], epoch: number): ClassFigures[] {
  const found = new Map<string, ClassFigures>();
  for (const each of figures) {
    if (each.epoch !== epoch || each.category === '') continue;
    const row = found.get(each.category) ?? { category: each.category, AP: null, AP50: null, precision: null, recall: null };
    found.set(each.category, { ...row, [each.name]: each.value });
  }
  return [...found.values()].sort((one, other) => one.category.localeCompare(other.category));
}

/** What is alike in several sets of options is left out: the options that differ, with the value of each. */
export function differing(all: readonly Record<string, unknown>[]): [option: string, values: unknown[]][] {
  const names = [...new Set(all.flatMap((each) => Object.keys(each)))];
  return names
    .map((name): [string, unknown[]] => [name, all.map((each) => each[name] ?? null)])
    .filter(([, values]) => new Set(values.map((value) => JSON.stringify(value))).size > 1);
}

/** A line for each training, of one figure, each with a colour and dashes of its own. */
export function linesOf(runs: readonly { name: string; figures: readonly Figure[] }[], split: string, figure: string): Line[] {
  return runs.map((run, at) => ({ name: run.name, points: pointsOf(run.figures, split, figure), hue: 1 + (at % 9), dash: at }));
}
