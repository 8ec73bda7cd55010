// The outbox: what people did, stored in the browser before anything else, and sent in order, once, until the server
// has it. Nothing here draws; nothing here is lost when a tab, a browser, a session or a network ends.

import { Problem } from '../lib/api';
import type { FrameName } from '../lib/types';
import { uuid7 } from './uuid7';
import type { FrameState, Op, ReviewObject } from './wire';

export type Kind = 'edit' | 'submit' | 'approve' | 'return' | 'reopen';

export interface Conflict {
  object_id: string;
  /** The index of the operation. */
  op: number;
  /** How somebody else left it: null where it was deleted. */
  theirs: ReviewObject | null;
  by: string | null;
  at: string | null;
}

/** Why an event cannot be sent as it is; it stays until somebody decides. */
export type Stopped =
  /** Somebody else changed the same objects, or, where there are no conflicts, the frame that is to be submitted. */
  | { why: 'conflict'; revision: number; conflicts: Conflict[]; lines: readonly string[] }
  /** The image of the frame is another one by now. */
  | { why: 'replaced'; lines: readonly string[] }
  | { why: 'refused'; status: number; lines: readonly string[] };

export interface Entry {
  event_id: string;
  /** Sorts the events of a browser in the order in which they were made. */
  order: number;
  user: string;
  project: string;
  frame: FrameName & { h: string };
  kind: Kind;
  ops: Op[];
  base_revision: number;
  note: string | null;
  ms: number | null;
  made_at: string;
  stopped: Stopped | null;
}

export interface Answer {
  revision: number;
  state: FrameState;
  changed: ReviewObject[];
  gone: string[];
}

/**
 * Where entries are until they are acknowledged. Each change is one transaction: all of it is stored, or nothing. Changes
 * take effect in the order of their calls, which need not wait for each other. A change that resolved survives the browser.
 */
export interface Store {
  load(user: string): Promise<Entry[]>;
  change(put: readonly Entry[], remove: readonly string[]): Promise<void>;
}

export type Send = (entry: Entry) => Promise<Answer>;

export interface Listener {
  /** The server has an event. */
  onAcknowledged?: (entry: Entry, answer: Answer) => void;
  onStopped?: (entry: Entry) => void;
  /** The numbers of waiting and stopped events changed, or whether the server is reached. */
  onChange?: () => void;
}

export type Reach = 'reached' | 'unreached' | 'signed-out';

/** How many frames are sent at a time. */
const LANES = 4;
const PAUSES_MS = [1000, 2000, 5000, 10000, 30000];

export const frameKey = (project: string, frame: FrameName): string =>
  JSON.stringify([project, frame.stream_id, String(frame.frame_idx)]);
const keyOf = (entry: Entry): string => frameKey(entry.project, entry.frame);

/** Run a piece of work while no other tab does: tabs of a browser send from one store, one after another. */
export type Alone = <T>(work: () => Promise<T>) => Promise<T>;

export class Outbox {
  private entries: Entry[] = [];
  private readonly revisions = new Map<string, number>();
  private sending: Promise<void> | null = null;
  private again = false;
  private failed = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<Listener>();
  /** Resolves when all changes so far are stored, or cannot be. */
  private storing: Promise<unknown> = Promise.resolve();
  private lastOrder = 0;
  reach: Reach = 'reached';

  constructor(
    readonly user: string,
    private readonly store: Store,
    private readonly send: Send,
    private readonly alone: Alone = (work) => work(),
    private readonly pauses: readonly number[] = PAUSES_MS,
  ) {}

  /** Load what was stored before, and begin to send it. */
  async start(): Promise<void> {
    await this.reload();
    this.wake();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.listeners.clear();
  }

  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Events that wait to be sent, of one frame or of all. */
  waiting(frame?: string): Entry[] {
    return this.entries.filter((each) => !each.stopped && (frame === undefined || keyOf(each) === frame));
  }

  /** How many events are not stored yet: a browser that is killed now loses these. */
  beingStored(): number {
    return this.unstored.size;
  }

  stopped(): Entry[] {
    return this.entries.filter((each) => each.stopped);
  }

  /** All events of a frame that the server has not acknowledged, in order: what was loaded from it does not show them. */
  unsent(frame: string): Entry[] {
    return this.entries.filter((each) => keyOf(each) === frame && each.stopped?.why !== 'replaced' && each.stopped?.why !== 'refused');
  }

  /** The revision that the next event of a frame is based on, given that of what is displayed. */
  revisionOf(frame: string, displayed: number): number {
    return Math.max(displayed, this.revisions.get(frame) ?? 0);
  }

  /** Store an event and begin to send it. Resolves when it is stored: from then on it survives the browser. */
  async add(event: Omit<Entry, 'event_id' | 'order' | 'user' | 'made_at' | 'stopped'>): Promise<Entry> {
    // Finer than milliseconds, so that a browser that was just started does not sort before the one that ended.
    this.lastOrder = Math.max(this.lastOrder + 0.001, performance.timeOrigin + performance.now());
    const entry: Entry = {
      ...event,
      event_id: uuid7(),
      order: this.lastOrder,
      user: this.user,
      made_at: new Date().toISOString(),
      stopped: null,
    };
    entry.base_revision = this.revisionOf(keyOf(entry), event.base_revision);
    this.entries.push(entry);
    this.changed();
    await this.change([entry], []);
    this.wake();
    return entry;
  }

  /** Try to send now: the network is there again, or somebody signed in. */
  wake(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.sending) {
      this.again = true;
      return;
    }
    this.sending = this.alone(() => this.sendAll())
      .catch(() => this.later())
      .finally(() => {
        this.sending = null;
        if (this.again) {
          this.again = false;
          this.wake();
        }
      });
  }

  /** Take in that another tab of the browser sent an event. */
  heard(entry: Entry, answer: Answer): void {
    const key = keyOf(entry);
    this.revisions.set(key, Math.max(answer.revision, this.revisions.get(key) ?? 0));
    this.entries = this.entries.filter((each) => each.event_id !== entry.event_id);
    this.changed();
    for (const each of this.listeners) each.onAcknowledged?.(entry, answer);
  }

  /** Wait until nothing is being sent. */
  async settled(): Promise<void> {
    await this.storing;
    while (this.sending) await this.sending;
  }

  /** Go on with a stopped event: by index of its operations, whether those of this browser are kept. */
  async resolve(entry: Entry, keepMine: (op: number) => boolean): Promise<void> {
    if (entry.stopped?.why !== 'conflict') return;
    const { revision, conflicts } = entry.stopped;
    const theirs = new Map(conflicts.map((each) => [each.op, each]));
    const ops = entry.ops.flatMap((op, at): Op[] => {
      const conflict = theirs.get(at);
      if (!conflict) return [op];
      if (!keepMine(at)) return [];
      // What was deleted meanwhile comes back before it is changed.
      const isBack = conflict.theirs === null && 'object_id' in op && op.op === 'set';
      return isBack ? [{ op: 'restore', object_id: op.object_id }, op] : op.op === 'delete' && conflict.theirs === null ? [] : [op];
    });
    this.revisions.set(keyOf(entry), revision);
    if (ops.length === 0 && entry.kind === 'edit') return this.drop(entry);
    const next: Entry = { ...entry, event_id: uuid7(), ops, base_revision: revision, stopped: null };
    await this.replace([[entry, next]], []);
    this.wake();
  }

  /** Try a refused event once more, as after the frame was reopened. */
  async retry(entry: Entry): Promise<void> {
    await this.replace([[entry, { ...entry, stopped: null, base_revision: this.revisionOf(keyOf(entry), entry.base_revision) }]], []);
    this.wake();
  }

  /** Give up a stopped event: somebody decided so. */
  async drop(entry: Entry): Promise<void> {
    await this.replace([], [entry]);
    this.wake();
  }

  private async reload(): Promise<void> {
    const stored = await this.store.load(this.user);
    stored.sort((one, other) => one.order - other.order || (one.event_id < other.event_id ? -1 : 1));
    // What this tab has just made, and is still being stored, is not lost from sight.
    const known = new Set(stored.map((each) => each.event_id));
    const pending = this.entries.filter((each) => this.unstored.has(each.event_id) && !known.has(each.event_id));
    this.entries = [...stored, ...pending];
    this.lastOrder = Math.max(this.lastOrder, ...stored.map((each) => each.order));
    this.changed();
  }

  private readonly unstored = new Set<string>();

  /** Hand a change to the store at once: what is done next waits for no disk, and takes effect after it. */
  private change(put: readonly Entry[], remove: readonly string[]): Promise<void> {
    for (const each of put) this.unstored.add(each.event_id);
    const stored = this.store.change(put, remove);
    this.storing = Promise.allSettled([this.storing, stored]);
    return stored.finally(() => {
      for (const each of put) this.unstored.delete(each.event_id);
      this.changed();
    });
  }

  private async replace(pairs: readonly (readonly [Entry, Entry])[], removed: readonly Entry[]): Promise<void> {
    const next = new Map(pairs.map(([before, after]) => [before.event_id, after]));
    const without = new Set(removed.map((each) => each.event_id));
    this.entries = this.entries.filter((each) => !without.has(each.event_id)).map((each) => next.get(each.event_id) ?? each);
    this.changed();
    const stale = pairs.filter(([before, after]) => before.event_id !== after.event_id).map(([before]) => before.event_id);
    await this.change(pairs.map(([, after]) => after), [...without, ...stale]);
  }

  private changed(): void {
    for (const each of this.listeners) each.onChange?.();
  }

  private async sendAll(): Promise<void> {
    await this.storing;
    await this.reload();
    // Of one frame, one after the other; frames do not wait for one another.
    const busy = new Set<string>();
    let mayGoOn = true;
    const lane = async (): Promise<void> => {
      while (mayGoOn) {
        const held = new Set(this.stopped().filter((each) => each.stopped?.why === 'conflict').map(keyOf));
        const entry = this.entries.find(
          (each) => !each.stopped && !this.unstored.has(each.event_id) && !held.has(keyOf(each)) && !busy.has(keyOf(each)),
        );
        if (!entry) return;
        busy.add(keyOf(entry));
        try {
          if (!(await this.sendOne(entry))) mayGoOn = false;
        } catch (error) {
          mayGoOn = false;
          throw error;
        } finally {
          busy.delete(keyOf(entry));
        }
      }
    };
    const lanes = await Promise.allSettled(Array.from({ length: LANES }, lane));
    const failed = lanes.find((each) => each.status === 'rejected');
    if (failed) throw failed.reason;
    if (!mayGoOn) return;
    this.failed = 0;
    this.become('reached');
  }

  /** Send an event; whether others may follow. */
  private async sendOne(entry: Entry): Promise<boolean> {
    try {
      const answer = await this.send(entry);
      this.failed = 0;
      this.become('reached');
      await this.acknowledged(entry, answer);
      return true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) {
        this.become('signed-out');
        return false;
      }
      if (error.status === 0 || error.status === 429 || error.status >= 500) {
        this.become('unreached');
        this.later(error.retryAfter);
        return false;
      }
      await this.halt(entry, stoppedBy(error));
      return true;
    }
  }

  private async acknowledged(entry: Entry, answer: Answer): Promise<void> {
    const key = keyOf(entry);
    this.revisions.set(key, Math.max(answer.revision, this.revisions.get(key) ?? 0));
    // Later events of the frame are based on this one, which is stored together with that it is done.
    const later = this.entries.filter((each) => each !== entry && keyOf(each) === key && !each.stopped && each.base_revision < answer.revision);
    await this.replace(later.map((each) => [each, { ...each, base_revision: answer.revision }]), [entry]);
    for (const each of this.listeners) each.onAcknowledged?.(entry, answer);
  }

  private async halt(entry: Entry, stopped: Stopped): Promise<void> {
    const next = { ...entry, stopped };
    await this.replace([[entry, next]], []);
    for (const each of this.listeners) each.onStopped?.(next);
  }

  private later(afterS: number | null = null): void {
    // Several frames that could not be sent at one time are one failure.
    if (this.timer !== undefined) return;
    const pause = afterS === null ? (this.pauses[Math.min(this.failed, this.pauses.length - 1)] ?? 30000) : afterS * 1000;
    this.failed += 1;
    this.timer = setTimeout(() => this.wake(), pause);
  }

  private become(reach: Reach): void {
    if (this.reach === reach) return;
    this.reach = reach;
    this.changed();
  }
}

function stoppedBy(problem: Problem): Stopped {
  const { lines, status, about } = problem;
  if (status === 409 && typeof about.revision === 'number' && Array.isArray(about.conflicts)) {
    const conflicts = about.conflicts as Conflict[];
    if (conflicts.length > 0 || about.state !== 'approved') {
      return { why: 'conflict', revision: about.revision, conflicts, lines };
    }
  }
  if (status === 410) return { why: 'replaced', lines };
  return { why: 'refused', status, lines };
}
