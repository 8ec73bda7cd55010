// The work on frames: which frame is open, what is done to it, and how that reaches the outbox and the next frame.

import { get, of } from '../lib/api';
import type { Size } from '../lib/overlay';
import type { FrameName, FrameNumber } from '../lib/types';
import type { Editor } from './editor';
import { History, type Step } from './history';
import { Line, Loader } from './line';
import { frameKey, type Entry, type Kind, type Outbox } from './outbox';
import type { Painter } from './painter';
import type { ReviewApi, Wanted } from './reviewApi';
import type { SceneObject } from './scene';
import { within } from './shapes';
import type { FrameState, Op, ReviewFrame } from './wire';
import { uuid7 } from './uuid7';
import { geometryOf } from './wire';

type Frame = FrameName & { h: string };

/** Longer pauses than this are no work on a frame. */
const MOST_PAUSE_MS = 20_000;

interface OpenTrack {
  stream: string;
  category: string;
  track: number | string | null;
  keyframes: Map<string, { idx: FrameNumber; object_id: string; bbox: [number, number, number, number]; rotation: number }>;
}

export interface WorkListener {
  onShow(frame: FrameName): void;
  onNotice(line: string): void;
  onProblem(error: unknown): void;
}

export const isSame = (one: FrameName | null, other: FrameName | null): boolean =>
  one !== null && other !== null && one.stream_id === other.stream_id && String(one.frame_idx) === String(other.frame_idx);

export class Work {
  current = $state.raw<ReviewFrame | null>(null);
  /** Counts changes of objects and of the selection. */
  changes = $state(0);
  waiting = $state(0);
  beingStored = $state(0);
  stopped = $state.raw<Entry[]>([]);
  reach = $state<Outbox['reach']>('reached');
  /** No frame is left in the queue. */
  isEmpty = $state(false);
  left = $state<number | null>(null);
  until = $state<string | null>(null);
  revision = $state(0);
  state = $state<FrameState>('open');
  openTrack = $state.raw<OpenTrack | null>(null);
  readonly line: Line;
  readonly loader: Loader;
  readonly history = new History();
  editor: Editor | null = null;
  painter: Painter | null = null;
  private wanted: FrameName | null = null;
  private readonly stale = new Set<string>();
  private readonly states = new Map<string, FrameState>();
  private copied: SceneObject[] = [];
  private activeMs = 0;
  private lastActive = 0;
  private readonly unlisten: () => void;

  constructor(
    readonly api: ReviewApi,
    readonly outbox: Outbox,
    private readonly me: string,
    wanted: Wanted,
    private readonly listener: WorkListener,
  ) {
    this.loader = new Loader(api);
    this.line = new Line(api, wanted, this.loader, () => this.sayLine());
    this.unlisten = outbox.listen({
      onChange: () => this.sayOutbox(),
      onAcknowledged: (entry, answer) => {
        if (entry.project !== api.project) return;
        this.states.set(this.key(entry.frame), answer.state);
        this.stale.add(this.key(entry.frame));
        if (entry.kind !== 'edit') this.line.settled(entry.frame);
        if (!isSame(entry.frame, this.current)) return;
        this.revision = answer.revision;
        this.state = answer.state;
        const mine = new Set(this.unsent(entry.frame).flatMap((each) => each.ops.flatMap((op) => ('object_id' in op ? [op.object_id] : []))));
        if (answer.changed.length + answer.gone.length > 0) {
          this.editor?.edits?.merge(answer.changed, answer.gone, mine);
          this.painter?.redrawAll();
          this.changed();
        }
      },
      onStopped: (entry) => {
        if (entry.kind !== 'edit') this.line.settled(entry.frame);
      },
    });
    this.sayOutbox();
  }

  stop(): void {
    this.unlisten();
    this.line.stop();
    this.loader.stop();
  }

  begin(editor: Editor, painter: Painter): void {
    this.editor = editor;
    this.painter = painter;
    if (this.wanted) void this.show(this.wanted);
  }

  /** Somebody does something: the time since they did something before is time of work. */
  active(now = performance.now()): void {
    this.activeMs += Math.min(now - this.lastActive, MOST_PAUSE_MS);
    this.lastActive = now;
  }

  changed(): void {
    this.changes += 1;
  }

  // --- frames

  /** Show a frame: the one before stays until this one is decoded. */
  async show(frame: FrameName): Promise<void> {
    this.wanted = frame;
    this.isEmpty = false;
    const key = this.key(frame);
    try {
      if (this.stale.delete(key)) this.loader.forget(frame);
      let loaded = await this.loader.get(frame);
      // What was acknowledged while it was loaded is in neither.
      if (loaded.frame.revision < this.outbox.revisionOf(key, 0)) {
        this.loader.forget(frame);
        loaded = await this.loader.get(frame);
      }
      if (!isSame(this.wanted, frame)) return;
      const { editor, painter } = this;
      if (!editor || !painter) return;
      this.current = loaded.frame;
      this.revision = loaded.frame.revision;
      this.state = loaded.frame.state;
      editor.readOnly = !loaded.frame.may.includes('edit');
      editor.open(loaded.frame, this.me);
      for (const entry of this.unsent(frame)) editor.edits?.apply(entry.ops);
      painter.show(loaded.image);
      painter.opened();
      this.activeMs = 0;
      this.lastActive = performance.now();
      this.changed();
      this.sayLine();
    } catch (error) {
      if (isSame(this.wanted, frame)) this.listener.onProblem(error);
    }
  }

  /** Go to the frame that is next in the queue. */
  async next(): Promise<void> {
    try {
      const lease = await this.line.first();
      this.isEmpty = lease === null;
      if (lease) this.listener.onShow(lease);
    } catch (error) {
      this.listener.onProblem(error);
    }
  }

  // --- edits

  onEdit(ops: Op[], inverse: Op[]): void {
    const frame = this.current;
    if (!frame) return;
    this.active();
    this.history.add({ frame: nameOf(frame), ops, inverse });
    this.send('edit', frame, ops);
    this.changed();
  }

  /** Record an event of a frame; from when it is stored it is never lost. */
  private send(kind: Kind, frame: Frame, ops: Op[], more: { note?: string; ms?: number } = {}): void {
    this.outbox
      .add({
        project: this.api.project, frame: nameOf(frame), kind, ops,
        base_revision: isSame(frame, this.current) ? this.revision : 0,
        note: more.note ?? null, ms: more.ms ?? null,
      })
      .catch((error: unknown) => this.listener.onProblem(error));
  }

  undo(): void {
    this.replay(this.history.undo(), 'inverse');
  }

  redo(): void {
    this.replay(this.history.redo(), 'ops');
  }

  private replay(step: Step | undefined, which: 'ops' | 'inverse'): void {
    if (!step) return this.listener.onNotice(which === 'ops' ? 'nothing to redo' : 'nothing to undo');
    const { frame } = step;
    const here = isSame(frame, this.current);
    const state = here ? this.state : this.states.get(this.key(frame));
    if (state === 'approved') this.send('reopen', frame, [], { note: 'undone' });
    if (here) this.editor?.replay(step[which]);
    this.send('edit', frame, step[which]);
    if (here) this.changed();
    else {
      this.stale.add(this.key(frame));
      this.listener.onShow(frame);
    }
  }

  // --- decisions

  /** Submit or approve the frame and go to the next one, which waits for nothing. */
  finish(ops: Op[] = []): void {
    const frame = this.current;
    if (!frame) return;
    const approves = this.state === 'submitted' && frame.may.includes('approve');
    if (!approves && !frame.may.includes('submit')) {
      this.listener.onNotice(this.state === 'approved' ? 'this frame is approved already' : 'you may not submit this frame');
      void this.leave(frame);
      return;
    }
    this.active();
    if (ops.length > 0) {
      const inverse = this.editor?.replay(ops) ?? [];
      this.history.add({ frame: nameOf(frame), ops, inverse });
    }
    this.send(approves ? 'approve' : 'submit', frame, ops, { ms: Math.round(this.activeMs) });
    void this.leave(frame);
  }

  decide(kind: 'return' | 'reopen', note: string): void {
    const frame = this.current;
    if (!frame) return;
    this.send(kind, frame, [], { note });
    if (kind === 'return') void this.leave(frame);
  }

  async skip(): Promise<void> {
    const frame = this.current;
    if (!frame) return;
    this.line.skip(frame).catch((error: unknown) => this.listener.onProblem(error));
    await this.next();
  }

  private async leave(frame: Frame): Promise<void> {
    this.stale.add(this.key(frame));
    this.line.pass(frame);
    await this.next();
  }

  /** What could not be sent was decided: the frame is shown as it is now. */
  resolved(entry: Entry): void {
    if (entry.project !== this.api.project) return;
    this.stale.add(this.key(entry.frame));
    const { current } = this;
    if (current && isSame(entry.frame, current)) void this.outbox.settled().then(() => this.show(current));
  }

  // --- objects

  /** Objects in the order in which they are to be checked: what nobody has checked, the least certain first. */
  ordered(): SceneObject[] {
    const weight = (each: SceneObject): number => (each.checkedBy || each.origin === 'person' ? 2 : (each.score ?? 1));
    return (this.editor?.edits?.scene.all() ?? []).sort((one, other) => weight(one) - weight(other));
  }

  step(by: 1 | -1): void {
    const all = this.ordered();
    const at = all.findIndex((each) => each.id === this.editor?.selection[0]);
    const to = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : (at + by + all.length) % all.length];
    this.editor?.select(to ? [to.id] : []);
  }

  /** Accept or reject the selection, or the first object that nobody has checked, and select the next one. */
  judge(op: 'accept' | 'delete'): void {
    const { editor } = this;
    if (!editor) return;
    const before = this.ordered();
    const [first] = before;
    const ids = editor.selection.length > 0 ? [...editor.selection] : first ? [first.id] : [];
    if (ids.length === 0) return;
    const at = before.findIndex((each) => each.id === ids[0]);
    editor.edit(ids.map((object_id) => ({ op, object_id })));
    const rest = before.slice(at + 1).concat(before.slice(0, at));
    const next = rest.find((each) => !ids.includes(each.id) && !each.checkedBy && each.origin !== 'person' && editor.edits?.scene.get(each.id));
    editor.select(next ? [next.id] : []);
  }

  acceptAll(): void {
    const ids = this.ordered().filter((each) => !each.checkedBy && each.origin !== 'person').map((each) => each.id);
    this.editor?.edit(ids.map((object_id) => ({ op: 'accept', object_id })));
  }

  acceptSuggestion(): void {
    const found = this.editor?.suggestionUnder;
    if (found) this.editor?.edit([{ op: 'accept', object_id: found.id }]);
  }

  copy(): void {
    this.copied = this.editor?.selected ?? [];
    if (this.copied.length > 0) this.listener.onNotice(`copied ${this.copied.length} ${this.copied.length === 1 ? 'object' : 'objects'}`);
  }

  paste(): void {
    const { editor } = this;
    if (!editor || this.copied.length === 0) return;
    const ops = copies(this.copied, editor.frame);
    if (ops.length < this.copied.length) this.listener.onNotice('masks of a frame of another size cannot be pasted here');
    editor.edit(ops);
    editor.select(ops.map((each) => each.object_id));
  }

  /** Copy the selection to the next frames of the stream, as one event for each of them. */
  async propagate(frames: number): Promise<void> {
    const objects = this.editor?.selected ?? [];
    let at = this.current;
    let done = 0;
    for (; at && at.next !== null && done < frames && objects.length > 0; done += 1) {
      const next: ReviewFrame = await this.api.frame({ stream_id: at.stream_id, frame_idx: at.next });
      if (!next.may.includes('edit')) break;
      const ops = copies(objects, next);
      if (ops.length === 0) break;
      this.history.add({ frame: nameOf(next), ops, inverse: ops.map((each) => ({ op: 'delete', object_id: each.object_id })) });
      this.outbox.add({
        project: this.api.project, frame: nameOf(next), kind: 'edit', ops, base_revision: next.revision, note: null, ms: null,
      }).catch((error: unknown) => this.listener.onProblem(error));
      this.stale.add(this.key(next));
      at = next;
    }
    this.listener.onNotice(`copied to ${done} ${done === 1 ? 'frame' : 'frames'}`);
  }

  /** Have a model follow the selection over the next frames: what it finds there is suggested. */
  async follow(frames: number): Promise<void> {
    const { current: frame, editor } = this;
    const ids = editor?.selection ?? [];
    if (!frame || ids.length === 0) return this.listener.onNotice('select the objects to follow');
    try {
      // What was just drawn has to be there first.
      await this.outbox.settled();
      const { job_id } = await this.api.follow(frame, ids, frames);
      this.listener.onNotice(`job ${job_id} follows ${ids.length} ${ids.length === 1 ? 'object' : 'objects'}; what it finds is suggested`);
    } catch (error) {
      this.listener.onProblem(error);
    }
  }

  // --- tracks

  /** Make the selection a keyframe of the open track; with two of them, the frames in between are interpolated. */
  async track(): Promise<void> {
    const { editor, current: frame } = this;
    if (!editor || !frame) return;
    let [object] = editor.selected;
    const track = this.openTrack?.stream === frame.stream_id ? this.openTrack : null;
    if (!object && track) {
      // The object of the track as it was last, to be moved to where it is now.
      const last = [...track.keyframes.values()].at(-1);
      if (!last) return;
      editor.category = track.category;
      editor.add({ kind: 'box', box: last.bbox, degrees: last.rotation });
      return this.listener.onNotice('move the box to where the object is, then press the key once more');
    }
    if (!object) return this.listener.onNotice('select a box that the track begins with');
    const geometry = geometryOf(object.shape);
    if (!('bbox' in geometry)) return this.listener.onNotice('tracks are of boxes');
    const keyframes = new Map(track?.category === object.category ? track.keyframes : []);
    keyframes.set(String(frame.frame_idx), { idx: frame.frame_idx, object_id: object.id, bbox: geometry.bbox, rotation: geometry.rotation ?? 0 });
    const next: OpenTrack = {
      stream: frame.stream_id, category: object.category, track: object.track ?? (track?.category === object.category ? track.track : null) ?? null, keyframes,
    };
    this.openTrack = next;
    if (keyframes.size < 2) return this.listener.onNotice('a track begins here: go to another frame and set its next keyframe');
    await this.outbox.settled();
    const ordered = [...keyframes.values()].sort((one, other) => (BigInt(one.idx) < BigInt(other.idx) ? -1 : 1));
    try {
      const answer = await this.api.tracks({
        event_id: uuid7(), stream: frame.stream_id, track_id: next.track, category: next.category,
        keyframes: ordered.map(({ idx, bbox, rotation }) => ({ idx, bbox, rotation })),
        objects: Object.fromEntries(ordered.map((each) => [String(each.idx), each.object_id])),
      });
      this.openTrack = { ...next, track: answer.track_id };
      for (const each of answer.applied) this.stale.add(this.key({ stream_id: each.stream, frame_idx: each.idx }));
      this.listener.onNotice(`track ${answer.track_id}: on ${answer.applied.length} frames${answer.refused.length > 0 ? `, refused on ${answer.refused.length}` : ''}`);
      await this.show(frame);
    } catch (error) {
      this.listener.onProblem(error);
    }
  }

  endTrack(): void {
    this.openTrack = null;
  }

  // --- parts

  private key = (frame: FrameName): string => frameKey(this.api.project, frame);
  private unsent = (frame: FrameName): Entry[] => this.outbox.unsent(this.key(frame));

  private sayOutbox(): void {
    this.waiting = this.outbox.waiting().length;
    this.beingStored = this.outbox.beingStored();
    this.stopped = this.outbox.stopped();
    this.reach = this.outbox.reach;
  }

  private sayLine(): void {
    this.left = this.line.left;
    this.until = (this.current && this.line.leaseOf(this.current)?.until) ?? this.current?.lease?.until ?? null;
  }
}

const nameOf = ({ stream_id, frame_idx, h }: Frame): Frame => ({ stream_id, frame_idx, h });

/** New objects like others, on a frame of any size. */
const copies = (objects: readonly SceneObject[], frame: Size): Extract<Op, { op: 'add' }>[] =>
  objects.flatMap((each) => {
    const shape = within(each.shape, frame);
    if (!shape) return [];
    return [{ op: 'add', object_id: uuid7(), category: each.category, ...geometryOf(shape), ...(each.track === null ? {} : { track_id: each.track }) }];
  });

/** The frames next to one in its stream, as the list of frames has them. */
export async function neighbours(project: string, at: FrameName, around: number): Promise<(FrameName & { h: string | null; n_objects: number | null })[]> {
  // As text: a number of JavaScript has no room for all that a frame may have.
  const idx = BigInt(at.frame_idx);
  const condition = `frame_idx BETWEEN ${idx - BigInt(around)} AND ${idx + BigInt(around)}`;
  const page = await get<{ frames: (FrameName & { h: string | null; n_objects: number | null })[] }>(`${of(project)}frames`, {
    stream: at.stream_id, where: condition, start: 0, limit: 2 * around + 1,
  });
  return page.frames;
}
