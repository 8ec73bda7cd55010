// What somebody gives a model so that it makes a mask: points on the object and beside it, and a box.

import type { Counts } from './masks';
import type { Box, Point } from './shapes';

export type Sign = 0 | 1;

export interface PromptPoint {
  at: Point;
  /** 1 on the object, 0 beside it. */
  sign: Sign;
}

/** The prompts of one object; a value, of which each change makes another one. */
export interface Prompts {
  points: readonly PromptPoint[];
  box: Box | null;
  /** The object whose shape becomes the mask; null for a new one. */
  object: string | null;
}

export const NO_PROMPTS: Prompts = { points: [], box: null, object: null };

export const isPrompted = (prompts: Prompts): boolean => prompts.points.length > 0 || prompts.box !== null;

/** Whether a model can answer: something says where the object is. */
export const canAnswer = (prompts: Prompts): boolean => prompts.box !== null || prompts.points.some((each) => each.sign === 1);

export const withPoint = (prompts: Prompts, at: Point, sign: Sign): Prompts => ({ ...prompts, points: [...prompts.points, { at, sign }] });

/** Without what was given last: a point, or where there is none the box. */
export const withoutLast = (prompts: Prompts): Prompts =>
  prompts.points.length > 0 ? { ...prompts, points: prompts.points.slice(0, -1) } : NO_PROMPTS;

/** The body of a request, without the frame. */
export const requestOf = (prompts: Prompts): { points: { x: number; y: number; label: Sign }[]; box: Box | null } => ({
  points: prompts.points.map(({ at: [x, y], sign }) => ({ x, y, label: sign })),
  box: prompts.box,
});

export interface PromptDraft {
  prompts: Prompts;
  /** What the model answered to these or to earlier ones. */
  mask: Counts | null;
}
