// Requests to the routes of review.

import { get, imageOf, of, patch, post, put, remove, type Query } from '../lib/api';
import type { FrameName, FrameNumber } from '../lib/types';
import type { Answer, Entry } from './outbox';
import type { FrameState, Op, ReviewFrame } from './wire';

export type Tab = 'open' | 'mine' | 'submitted' | 'returned' | 'approved' | 'all';

export interface QueueRow extends FrameName {
  h: string;
  width: number | null;
  height: number | null;
  state: FrameState;
  uncertainty: number | null;
  doubts: string[];
  keep: boolean | null;
  n_objects: number | null;
  revision: number;
  submitted_by: string | null;
  note: string | null;
  lease: { user: string; is_mine: boolean; until: string } | null;
}

export interface QueuePage {
  snapshot: string;
  total: number;
  start: number;
  counts: Record<'open' | 'mine' | 'submitted' | 'returned' | 'approved', number>;
  frames: QueueRow[];
}

export interface Lease extends FrameName {
  lease_id: string;
  h: string;
  state: FrameState;
  revision: number;
  until: string;
}

export interface Category {
  category: string;
  number: number | null;
  colour: string | null;
  key: string | null;
  n_objects: number | null;
  merged_into: string | null;
}

export interface CategoryChange {
  change_id: string;
  kind: string;
  category: string;
  value: string | null;
  user: string | null;
  at: string;
  undone: boolean;
}

export interface Categories {
  categories: Category[];
  changes: CategoryChange[];
}

export interface Comment {
  comment_id: string;
  user: string;
  at: string;
  text: string;
  object_id: string | null;
}

export interface HistoryEvent {
  seq: number;
  event_id: string;
  revision: number;
  kind: string;
  user: string | null;
  at: string;
  note: string | null;
  ops: Op[];
}

export interface Figures {
  people: {
    user: string; frames: number; objects_added: number; objects_changed: number; objects_deleted: number;
    median_s: number | null; submitted: number; returned: number; approved: number; agreement: number | null;
  }[];
  categories: { category: string; kept: number; corrected: number; deleted: number; added: number; precision: number | null;
    /** How often people overruled the model, in ten equal parts of its scores. */
    by_score: { low: number; kept: number; overruled: number }[];
  }[];
}

export interface Settings {
  lease_minutes: number;
  require_second_reviewer: boolean;
  order: string;
  where: string | null;
  guidelines: string;
}

export interface BulkAnswer {
  applied: { stream: string; idx: FrameNumber; revision: number; seq: number; object_id?: string }[];
  refused: { stream: string; idx: FrameNumber; status: number; lines: string[] }[];
}

export interface MaskAbout {
  model: string;
  device: string;
}

/** What is leased: the tab, and the filters of the list of frames. */
export interface Wanted {
  tab: 'open' | 'submitted' | 'returned';
  stream: string[];
  category: string[];
  reason: string[];
  selection: string[];
  where: string | null;
  order: string;
}

const at = (frame: FrameName): Query => ({ stream: frame.stream_id, idx: frame.frame_idx });

export class ReviewApi {
  private readonly root: string;

  constructor(readonly project: string) {
    this.root = `${of(project)}review/`;
  }

  frame = (frame: FrameName, signal?: AbortSignal): Promise<ReviewFrame> => get(`${this.root}frame`, at(frame), signal);
  queue = (query: Query, signal?: AbortSignal): Promise<QueuePage> => get(`${this.root}queue`, query, signal);
  lease = (n: number, exclude: readonly FrameName[], wanted: Wanted): Promise<{ leases: Lease[]; left: number }> =>
    post(`${this.root}leases`, { n, exclude: exclude.map((each) => ({ stream: each.stream_id, idx: each.frame_idx })), ...wanted });
  ping = (lease: string): Promise<{ lease_id: string; until: string }> => post(`${this.root}leases/${encodeURIComponent(lease)}/ping`);
  giveBack = (lease: string, skip: boolean): Promise<void> => remove(`${this.root}leases/${encodeURIComponent(lease)}?skip=${skip}`);
  categories = (): Promise<Categories> => get(`${this.root}categories`);
  changeCategory = (body: Record<string, string>): Promise<Categories> => post(`${this.root}categories`, body);
  undoCategory = (change: string): Promise<Categories> => remove(`${this.root}categories/${encodeURIComponent(change)}`);
  settings = (): Promise<Settings> => get(`${this.root}settings`);
  changeSettings = (body: Partial<Settings>): Promise<Settings> => patch(`${this.root}settings`, body);
  comments = (frame: FrameName): Promise<{ comments: Comment[] }> => get(`${this.root}comments`, at(frame));
  comment = (frame: FrameName, text: string, object_id: string | null): Promise<{ comments: Comment[] }> =>
    post(`${this.root}comments`, { stream: frame.stream_id, idx: frame.frame_idx, text, object_id });
  history = (frame: FrameName, object_id?: string): Promise<{ events: HistoryEvent[] }> => get(`${this.root}history`, { ...at(frame), object_id });
  figures = (days: number): Promise<Figures> => get(`${this.root}figures`, { days });
  bulk = (body: unknown): Promise<BulkAnswer> => post(`${this.root}bulk`, body);
  tracks = (body: unknown): Promise<BulkAnswer & { track_id: number | string }> => post(`${this.root}tracks`, body);
  /** Load the model that makes masks. */
  startMasks = (): Promise<MaskAbout> => post(`${this.root}masks/start`);
  mask = (frame: FrameName & { h: string }, given: { points: unknown; box: unknown }): Promise<MaskAbout & { rle?: string | null; score?: number | null; seconds: number }> =>
    post(`${this.root}masks`, { stream: frame.stream_id, idx: frame.frame_idx, h: frame.h, ...given });
  /** Have objects followed over the next frames by a model, as a job. */
  follow = (frame: FrameName & { h: string }, objects: readonly string[], frames: number): Promise<{ job_id: string }> =>
    post(`${this.root}follow`, { stream: frame.stream_id, idx: frame.frame_idx, h: frame.h, objects, frames });
  image = (frame: FrameName & { h: string }, w: 320 | 640 | 1280 | 'full'): string => imageOf(this.project, frame, w);
}

/** The keys that somebody changed, as the server has them; null where it has none. */
export const storedKeys = async (): Promise<unknown> => (await get<{ keys: unknown }>('me/keymap')).keys;
export const storeKeys = (keys: Readonly<Record<string, readonly string[]>>): Promise<unknown> => put('me/keymap', { keys });

const DECISIONS = new Set(['approve', 'return', 'reopen']);

/** Send an event of the outbox to the route of its kind. */
export function sendEntry(entry: Entry): Promise<Answer> {
  const { event_id, frame, base_revision, kind, ops, note, ms } = entry;
  const body = { event_id, stream: frame.stream_id, idx: frame.frame_idx, h: frame.h, base_revision, kind, ops, note, ms };
  return post<Answer>(`${of(entry.project)}review/${DECISIONS.has(kind) ? 'decisions' : 'events'}`, body);
}
