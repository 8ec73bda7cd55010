// Details of frames that tiles draw boxes of: a few at a time, what is in view first, and none twice.

import { get, of } from './api';
import type { Frame, FrameName, FrameNumber } from './types';

const AT_ONCE = 4;
const KEPT = 600;

export class Details {
  private readonly known = new Map<string, Frame>();
  private readonly asked = new Set<string>();
  private waiting: { name: string; stream: string; idx: FrameNumber }[] = [];

  constructor(
    private readonly project: string,
    private readonly onChange: () => void,
  ) {}

  of(stream: string, idx: FrameNumber): Frame | undefined {
    return this.known.get(`${idx}@${stream}`);
  }

  /** Ask for the details of these frames, instead of those that were asked for before and are still waiting. */
  want(frames: readonly FrameName[]): void {
    this.waiting = frames
      .map((each) => ({ name: `${each.frame_idx}@${each.stream_id}`, stream: each.stream_id, idx: each.frame_idx }))
      .filter((each) => !this.known.has(each.name) && !this.asked.has(each.name));
    this.next();
  }

  private next(): void {
    while (this.asked.size < AT_ONCE) {
      const each = this.waiting.shift();
      if (!each) return;
      this.asked.add(each.name);
      get<Frame>(`${of(this.project)}frame`, { stream: each.stream, idx: each.idx })
        .then((frame) => {
          this.known.set(each.name, frame);
          const oldest = this.known.keys().next();
          if (this.known.size > KEPT && !oldest.done) this.known.delete(oldest.value);
          this.onChange();
        })
        // A tile without its boxes is still a tile; the frame itself says what is wrong when it is opened.
        .catch(() => {})
        .finally(() => {
          this.asked.delete(each.name);
          this.next();
        });
    }
  }
}
