// Asks the server for masks of what points and boxes are on: one request at a time, of which the latest counts.

import type { FrameName } from '../lib/types';
import type { ReviewApi } from './reviewApi';
import { decompressed, type Counts } from './masks';
import { canAnswer, requestOf, type Prompts } from './prompts';

type Frame = FrameName & { h: string };

const DEVICES: Record<string, string> = { cpu: 'the CPU, where that takes several seconds', cuda: 'the GPU' };

export class ClickMasks {
  /** What is waited for; empty for nothing. */
  waits = $state('');
  seconds = $state(0);
  /** The model that answers, once it is loaded. */
  model = $state('');
  problem = $state.raw<unknown>(undefined);
  private device = '';
  private isAsking = false;
  private next: { frame: Frame; prompts: Prompts | null } | null = null;
  private readonly read = new Set<string>();
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly api: ReviewApi, private readonly onMask: (prompts: Prompts, mask: Counts | null) => void) {}

  /** Have the model loaded and the frame read, so that the first mask is quick. */
  prepare(frame: Frame): void {
    this.ask(frame, null);
  }

  /** Request a mask; what is asked meanwhile replaces what was to be asked next. */
  ask(frame: Frame, prompts: Prompts | null): void {
    if (prompts && !canAnswer(prompts)) return this.onMask(prompts, null);
    this.next = { frame, prompts };
    void this.work();
  }

  stop(): void {
    this.next = null;
    clearInterval(this.timer);
  }

  private async work(): Promise<void> {
    if (this.isAsking) return;
    this.isAsking = true;
    try {
      while (this.next) {
        const { frame, prompts } = this.next;
        this.next = null;
        this.problem = undefined;
        if (!this.model) {
          this.wait('loading the model');
          const about = await this.api.startMasks();
          [this.model, this.device] = [about.model, about.device];
        }
        this.wait(this.read.has(frame.h) ? 'making the mask' : `${this.model} reads the frame on ${DEVICES[this.device] ?? this.device}`);
        const given = prompts ? requestOf(prompts) : { points: [], box: null };
        const found = await this.api.mask(frame, given);
        this.read.add(frame.h);
        if (prompts) this.onMask(prompts, found.rle ? decompressed(found.rle) : null);
      }
    } catch (error) {
      this.problem = error;
      // Whatever the process has loaded, it may be another one next time.
      this.model = '';
      this.read.clear();
    } finally {
      this.wait('');
      this.isAsking = false;
      if (this.next) void this.work();
    }
  }

  private wait(what: string): void {
    this.waits = what;
    this.seconds = 0;
    clearInterval(this.timer);
    const began = performance.now();
    if (what) this.timer = setInterval(() => (this.seconds = Math.round((performance.now() - began) / 1000)), 500);
  }
}
