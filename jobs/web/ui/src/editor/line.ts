// The frames that a person has next: leased a few at a time, and loaded with their images before they are shown.

import type { FrameName } from '../lib/types';
import type { Lease, ReviewApi, Wanted } from './reviewApi';
import type { ReviewFrame } from './wire';

export interface Loaded {
  frame: ReviewFrame;
  image: ImageBitmap | null;
}

const [AHEAD, KEPT] = [3, 10];
const PING_MS = 60_000;
const nameOf = (frame: FrameName): string => `${frame.frame_idx}@${frame.stream_id}`;

async function decoded(address: string, signal: AbortSignal): Promise<ImageBitmap | null> {
  try {
    const answer = await fetch(address, { credentials: 'same-origin', signal });
    return answer.ok ? await createImageBitmap(await answer.blob()) : null;
  } catch (error) {
    if (signal.aborted) throw error;
    return null;
  }
}

/** Frames with their images, the last few kept: what comes next is loaded while the present one is worked on. */
export class Loader {
  private readonly known = new Map<string, Promise<Loaded>>();
  private readonly stopping = new AbortController();

  constructor(private readonly api: ReviewApi) {}

  get(frame: FrameName): Promise<Loaded> {
    const name = nameOf(frame);
    const found = this.known.get(name);
    if (found) {
      // The frame that was used last is the last to be forgotten.
      this.known.delete(name);
      this.known.set(name, found);
      return found;
    }
    const loaded = this.load(frame);
    this.known.set(name, loaded);
    loaded.catch(() => this.known.delete(name));
    for (const [oldest, promise] of this.known) {
      if (this.known.size <= KEPT) break;
      this.known.delete(oldest);
      promise.then((each) => each.image?.close(), () => {});
    }
    return loaded;
  }

  /** Load the objects of a frame again when it is shown next; its image is the same. */
  forget(frame: FrameName): void {
    const name = nameOf(frame);
    const found = this.known.get(name);
    if (!found) return;
    this.known.set(name, found.then(async (before) => {
      const now = await this.api.frame(frame, this.stopping.signal);
      return now.h === before.frame.h ? { frame: now, image: before.image } : this.load(frame);
    }));
    this.known.get(name)?.catch(() => this.known.delete(name));
  }

  stop(): void {
    this.stopping.abort();
    for (const promise of this.known.values()) promise.then((each) => each.image?.close(), () => {});
    this.known.clear();
  }

  private async load(frame: FrameName): Promise<Loaded> {
    const found = await this.api.frame(frame, this.stopping.signal);
    return { frame: found, image: await decoded(this.api.image(found, 'full'), this.stopping.signal) };
  }
}

export class Line {
  /** Leased frames, the present one first. */
  held: Lease[] = [];
  /** How many frames wait in the queue; null before it is known. */
  left: number | null = null;
  private filling: Promise<void> | null = null;
  private readonly doneWith = new Map<string, FrameName>();
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(
    private readonly api: ReviewApi,
    private readonly wanted: Wanted,
    private readonly loader: Loader,
    private readonly onChange: () => void,
  ) {
    this.timer = setInterval(() => this.ping(), PING_MS);
  }

  /** The frame to work on; null where none is left. */
  async first(): Promise<Lease | null> {
    if (this.held.length === 0) await this.fill();
    return this.held[0] ?? null;
  }

  /** Leave the present frame behind; it does not come again before the server knows what was done. */
  pass(frame: FrameName): void {
    const name = nameOf(frame);
    this.doneWith.set(name, { stream_id: frame.stream_id, frame_idx: frame.frame_idx });
    this.held = this.held.filter((each) => nameOf(each) !== name);
    this.onChange();
    if (this.held.length < 2) void this.fill().catch(() => {});
  }

  /** The server knows what was done with a frame: it may come again, if it is returned, say. */
  settled(frame: FrameName): void {
    this.doneWith.delete(nameOf(frame));
  }

  leaseOf(frame: FrameName): Lease | undefined {
    return this.held.find((each) => nameOf(each) === nameOf(frame));
  }

  async skip(frame: FrameName): Promise<void> {
    const lease = this.leaseOf(frame);
    this.pass(frame);
    if (lease) await this.api.giveBack(lease.lease_id, true);
    this.settled(frame);
  }

  /** Give everything back. */
  stop(): void {
    clearInterval(this.timer);
    for (const each of this.held) this.api.giveBack(each.lease_id, false).catch(() => {});
    this.held = [];
  }

  private fill(): Promise<void> {
    this.filling ??= this.lease().finally(() => {
      this.filling = null;
    });
    return this.filling;
  }

  private async lease(): Promise<void> {
    const n = AHEAD - this.held.length;
    if (n <= 0) return;
    const exclude = [...this.held, ...this.doneWith.values()];
    const answer = await this.api.lease(n, exclude, this.wanted);
    const mine = new Set(exclude.map(nameOf));
    this.held = [...this.held, ...answer.leases.filter((each) => !mine.has(nameOf(each)))];
    this.left = answer.left;
    for (const each of this.held) void this.loader.get(each).catch(() => {});
    this.onChange();
  }

  private ping(): void {
    for (const each of this.held) {
      this.api.ping(each.lease_id).then(
        ({ until }) => {
          this.held = this.held.map((other) => (other.lease_id === each.lease_id ? { ...other, until } : other));
          this.onChange();
        },
        // A lease that is lost is noticed when the frame is worked on: what is done still counts by revision.
        () => {},
      );
    }
  }
}
