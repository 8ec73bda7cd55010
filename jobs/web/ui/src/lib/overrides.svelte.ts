// Keeping and dropping frames by hand, and undoing it: each answer of the server has what undoes it.

import { get, of, put } from './api';
import { plural } from './format';
import { toasts } from './toasts.svelte';
import type { FrameName, FramePage, OverridesChanged } from './types';

export type Decision = 'keep' | 'drop' | null;

/** Frames that one request may name. */
export const MOST = 10_000;
const PAGE = 1000;

export class Overrides {
  /** Whether something can be undone. */
  canUndo = $state(false);
  busy = $state(false);
  private readonly done: OverridesChanged[] = [];

  constructor(
    private readonly project: string,
    private readonly onChange: () => void,
  ) {}

  async decide(frames: readonly FrameName[], decision: Decision, note = ''): Promise<void> {
    if (frames.length === 0 || this.busy) return;
    const answer = await this.send({
      frames: frames.map(({ stream_id, frame_idx }) => ({ stream_id, frame_idx, decision, note: note.trim() || null })),
    });
    if (!answer) return;
    if (answer.before.length > 0) {
      this.done.push(answer);
      this.canUndo = true;
    }
    const n = answer.before.length;
    const said = decision === 'keep' ? 'kept by hand' : decision === 'drop' ? 'dropped by hand' : 'left to curation again';
    toasts.done(n === 0 ? `Nothing to change: ${plural(frames.length, 'frame')}` : `${plural(n, 'frame')} ${said} (z undoes it)`);
  }

  async undo(): Promise<void> {
    const last = this.done.at(-1);
    if (!last || this.busy) return;
    const answer = await this.send({ frames: last.before, unless_after_ns: last.decided_ns });
    if (!answer) return;
    this.done.pop();
    this.canUndo = this.done.length > 0;
    const left = answer.newer > 0 ? `; ${plural(answer.newer, 'frame')} stay, which somebody decided about since` : '';
    toasts.done(`Undone: ${plural(answer.before.length, 'frame')}${left}`);
  }

  private async send(body: unknown): Promise<OverridesChanged | null> {
    this.busy = true;
    try {
      return await put<OverridesChanged>(`${of(this.project)}overrides`, body);
    } catch (error) {
      toasts.problem(error);
      return null;
    } finally {
      this.busy = false;
      this.onChange();
    }
  }
}

/** The names of frames in places of a list, those that are not known here asked for. */
export async function namesOf(
  project: string,
  places: readonly number[],
  known: (place: number) => FrameName | undefined,
  snapshot: string | null,
): Promise<FrameName[]> {
  const found = new Map<number, FrameName>();
  const missing = new Set<number>();
  for (const place of places) {
    const frame = known(place);
    if (frame) found.set(place, frame);
    else missing.add(Math.floor(place / PAGE));
  }
  for (const page of missing) {
    const answer = await get<FramePage>(`${of(project)}frames`, { start: page * PAGE, limit: PAGE, snapshot });
    answer.frames.forEach((frame, at) => found.set(page * PAGE + at, frame));
  }
  return places.flatMap((place) => found.get(place) ?? []);
}
