// The figures of trainings while they are trained: what is new after each event of their jobs, and no more.

import { get, of } from './api';
import { after, isOver } from './jobs';
import { live } from './live.svelte';
import { merged, type Figure, type TrainingPage } from './trainings';

const PAUSE_MS = 1000;

export class Followed {
  job = $state.raw<TrainingPage | undefined>(undefined);
  figures = $state.raw<readonly Figure[]>([]);
  problem = $state.raw<unknown>(undefined);
  private last = 0;
  private asking = false;
  private again = false;
  private stopped = false;

  constructor(
    private readonly project: string,
    readonly id: string,
  ) {}

  /** Ask now, and again after events, until the returned function is called. */
  start(): () => void {
    this.stopped = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    void this.ask();
    const off = live.on((event) => {
      if (event.kind === 'reset') {
        this.last = 0;
        void this.ask();
      }
      if (event.kind !== 'job' || event.data.project !== this.project || event.data.job_id !== this.id) return;
      const before = this.job;
      if (before) this.job = { ...before, ...after([before], event.data)?.[0] };
      // Figures come with epochs, and at the end: asked for once a second at most.
      const changed = before === undefined || before.state !== event.data.state || before.done !== event.data.done || isOver(String(event.data.state));
      if (changed) {
        timer ??= setTimeout(() => {
          timer = undefined;
          void this.ask();
        }, PAUSE_MS);
      }
    });
    return () => {
      this.stopped = true;
      off();
      clearTimeout(timer);
    };
  }

  /** Ask for what follows the last epoch that is known, also after an attempt that began that epoch again. */
  async ask(): Promise<void> {
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    try {
      for (;;) {
        const from = Math.max(0, this.last - 1);
        const found = await get<TrainingPage>(`${of(this.project)}trainings/${encodeURIComponent(this.id)}`, { after: from });
        if (this.stopped) break;
        this.job = found;
        const newest = found.figures.reduce((most, each) => Math.max(most, each.epoch), 0);
        this.figures = this.last === 0 ? [...found.figures] : merged(this.figures, found.figures);
        this.problem = undefined;
        const more = newest > this.last && newest < found.last;
        this.last = Math.max(this.last, newest);
        if (!more && !this.again) break;
        this.again = false;
      }
    } catch (error) {
      this.problem = error;
    }
    this.asking = false;
  }
}
