// Undo and redo across frames: each step knows its frame, what was done there, and what undoes it.

import type { FrameName } from '../lib/types';
import type { Op } from './wire';

export interface Step {
  frame: FrameName & { h: string };
  ops: Op[];
  inverse: Op[];
}

export const MOST_STEPS = 100;

export class History {
  private done: Step[] = [];
  private undone: Step[] = [];

  get canUndo(): boolean {
    return this.done.length > 0;
  }

  get canRedo(): boolean {
    return this.undone.length > 0;
  }

  add(step: Step): void {
    if (step.inverse.length === 0) return;
    this.done = [...this.done.slice(1 - MOST_STEPS), step];
    this.undone = [];
  }

  /** The last step, which is now undone: its inverse is to be applied to its frame. */
  undo(): Step | undefined {
    const step = this.done.pop();
    if (!step) return undefined;
    // What was added and deleted again comes back as it was: an id is added once.
    const ops = step.ops.map((op): Op => (op.op === 'add' ? { op: 'restore', object_id: op.object_id } : op));
    this.undone.push({ ...step, ops });
    return step;
  }

  redo(): Step | undefined {
    const step = this.undone.pop();
    if (step) this.done.push(step);
    return step;
  }
}
