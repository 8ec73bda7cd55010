// Short notices: what was done, or why it was not. They stay until they have been read or are put away.

import { linesOf } from './api';

export interface Toast {
  id: number;
  kind: 'done' | 'problem';
  lines: readonly string[];
}

const SHOWN_MS = 5000;

class Toasts {
  shown = $state.raw<readonly Toast[]>([]);
  private last = 0;

  done(line: string): void {
    const id = this.add('done', [line]);
    setTimeout(() => this.close(id), SHOWN_MS);
  }

  /** A problem stays until somebody closes it. */
  problem(error: unknown): void {
    this.add('problem', linesOf(error));
  }

  close(id: number): void {
    this.shown = this.shown.filter((each) => each.id !== id);
  }

  private add(kind: Toast['kind'], lines: readonly string[]): number {
    this.last += 1;
    this.shown = [...this.shown.slice(-3), { id: this.last, kind, lines }];
    return this.last;
  }
}

export const toasts = new Toasts();
