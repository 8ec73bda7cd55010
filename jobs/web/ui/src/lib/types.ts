// The answers of the server, as its OpenAPI document describes them.

import type { Descent } from './runs';

/** The number of a frame: a text where it is larger than numbers are exact here. */
export type FrameNumber = number | string;

export interface FrameName {
  stream_id: string;
  frame_idx: FrameNumber;
}

export type Role = 'viewer' | 'annotator' | 'reviewer' | 'admin';
export const ROLES: readonly Role[] = ['viewer', 'annotator', 'reviewer', 'admin'];

export const SCOPES = [
  'read', 'annotate', 'review', 'submit', 'control', 'upload', 'train', 'promote', 'metrics', 'admin',
] as const;
export type Scope = (typeof SCOPES)[number];

export interface User {
  user_id: string;
  name: string;
  display_name: string | null;
  is_admin: boolean;
}

export interface ListedUser extends User {
  disabled: boolean;
  created_at: string;
  seen_at: string | null;
}

export interface Me {
  user: User;
  projects: { project: string; role: Role }[];
  loopback: boolean;
  version: string;
  build: string;
}

export interface Session {
  session_id: string;
  created_at: string;
  seen_at: string;
  address: string | null;
  agent: string | null;
  current: boolean;
}

export interface Key {
  key_id: string;
  name: string;
  scopes: Scope[];
  project: string | null;
  owner: string;
  created_at: string;
  expires_at: string | null;
  used_at: string | null;
}

export interface Invitation {
  invitation_id: string;
  role: Role | null;
  project: string | null;
  is_admin: boolean;
  created_at: string;
  expires_at: string;
  used_at: string | null;
  by: string | null;
}

export interface CheckedToken {
  kind: 'invitation' | 'reset';
  project: string | null;
  role: Role | null;
  name: string | null;
}

export interface AuditEntry {
  seq: number;
  at: string;
  actor: string | null;
  action: string;
  target: string | null;
  project: string | null;
  detail: Record<string, unknown>;
}

export interface Project {
  project: string;
  path: string | null;
  role: Role;
  exists: boolean;
  problem: string | null;
}

export interface Member {
  user_id: string;
  name: string;
  role: Role;
}

export interface ReasonCount {
  reason: string;
  frames: number;
}

export type JobState = 'pending' | 'running' | 'paused' | 'done' | 'failed' | 'cancelled';

export interface Run {
  job_id: string;
  state: JobState;
  parent: string | null;
  profile: string | null;
  started_at: string | null;
  seconds: number | null;
  frames: number | null;
  kept: number | null;
  streams: string[];
}

export interface Overview {
  frames: number;
  kept: number;
  dropped: number;
  undecided: number;
  reasons: ReasonCount[];
  streams: number;
  quarantined: number;
  has: Record<'curation' | 'idle' | 'scenes' | 'duplicates' | 'embeddings' | 'annotations', boolean>;
  runs: Run[];
  releases: { name: string; created_at: string }[];
  next_step: { text: string; command: string; page?: string } | null;
}

export interface Stream {
  stream_id: string;
  kind: string;
  uri: string;
  n_frames: number;
  first_idx: FrameNumber | null;
  last_idx: FrameNumber | null;
  n_bad: number;
  kept: number;
  dropped: number;
  reasons: ReasonCount[];
  gaps: { start: FrameNumber; end: FrameNumber }[];
  first_t: string | null;
  last_t: string | null;
  remarks: string[];
  error: string | null;
}

export type Curve = 'motion' | 'sharpness' | 'luma';

export interface Timeline {
  stream_id: string;
  by: 'number' | 'time';
  start: number | string | null;
  end: number | string | null;
  bins: number;
  frames: number[];
  kept: number[];
  reasons: Record<string, number[]>;
  curves: Partial<Record<Curve, (number | null)[]>>;
  /** Intervals, in positions of bins. */
  idle: [number, number][];
  scenes: [number, number][];
  gaps: [number, number][];
  /** The number of a frame in each bin. */
  at: (FrameNumber | null)[];
}

/** What is before the bytes of the map: x and y of each frame, in order of stream and number. */
/** Principal components of vectors, or a map that a job has computed. */
export type MapKind = 'embedding' | 'layout' | 'umap-embedding' | 'umap-layout';

export interface MapHead {
  version: string;
  frames: number;
  known: number;
  by: MapKind;
  kinds: MapKind[];
  /** Shares of the variance along the axes. */
  explained: [number, number] | null;
  columns: string[];
}

export interface MapLegend {
  column: string;
  kind: 'number' | 'values';
  low?: number | null;
  high?: number | null;
  values?: { value: string; frames: number }[];
  others?: number;
}

export interface MapColours {
  version: string;
  legend: MapLegend;
  chosen: number;
}

export interface FrameRow {
  stream_id: string;
  frame_idx: FrameNumber;
  /** Its place among all frames. */
  row: number | null;
  /** The hash of its content, which makes the address of its image immutable. */
  h: string | null;
  width: number | null;
  height: number | null;
  keep: boolean | null;
  reasons: string[];
  n_objects: number | null;
  t: string | null;
}

export interface FramePage {
  snapshot: string;
  total: number;
  start: number;
  frames: FrameRow[];
}

export interface Facets {
  total: number;
  facets: Partial<Record<string, FacetValue[]>>;
  /** Kinds of which nothing is known, with the stage that would find it out. */
  absent: { kind: string; stage: string; command: string }[];
}

export interface FacetValue {
  value: string | number | boolean | null;
  frames: number;
}

/** What keeping and dropping by hand changed; `before` undoes it. */
export interface OverridesChanged {
  decided_ns: string;
  keep: number;
  drop: number;
  removed: number;
  unchanged: number;
  newer: number;
  before: (FrameName & { decision: 'keep' | 'drop' | null; note: string | null })[];
}

export interface SimilarFrames {
  by: 'hash' | 'embedding' | 'text';
  kinds: ('hash' | 'embedding')[];
  frames: (FrameName & { h: string | null; keep: boolean | null; hamming?: number; cosine?: number })[];
}

export interface FrameObject {
  annotation_id: string;
  category: string;
  score: number | null;
  /** x, y, width, height in pixels of the frame. */
  bbox: [number, number, number, number];
  /** Outlines as x, y, x, y, … in pixels of the frame. */
  polygons: number[][] | null;
  track_id: number | string | null;
  source: string | null;
  model: string | null;
  /** What is written on it, where that was read. */
  text?: string | null;
}

export interface DuplicateMember {
  stream_id: string;
  frame_idx: FrameNumber;
  h: string | null;
  keep: boolean | null;
  hamming: number | null;
  cosine: number | null;
}

export interface Frame {
  stream_id: string;
  frame_idx: FrameNumber;
  h: string;
  values: Record<string, Record<string, unknown>>;
  why: string[];
  /** What somebody decided about it by hand. */
  override: { decision: 'keep' | 'drop'; author: string; note: string | null } | null;
  objects: FrameObject[];
  duplicates: {
    group_id: string | number;
    representative: FrameName;
    members: DuplicateMember[];
  } | null;
  previous: FrameNumber | null;
  next: FrameNumber | null;
}

export interface Job {
  job_id: string;
  state: JobState;
  /** The number of its last record: a request says on which state it was decided. */
  number: number;
  parent: string | null;
  profile: string | null;
  priority: number | null;
  submitted_at: string | null;
  started_at: string | null;
  ended_at: string | null;
  stage: string | null;
  done: number | null;
  total: number | null;
  frames_per_second: number | null;
  eta_s: number | null;
  asked: string | null;
  error: string | null;
  inputs: string[];
  /** `run`, or what else it makes: `select`, `release`, `export`, … */
  kind: string;
  /** What a job that is no run has made. */
  result: object | null;
}

export interface JobStage {
  stage: string;
  state: string;
  computed: number | null;
  reused: number | null;
  corrupt: number | null;
  quarantined: number | null;
  seconds: number | null;
  /** How far it is, while it runs. */
  done?: number | null;
  total?: number | null;
  frames_per_second?: number | null;
  /** Time left in seconds. */
  eta_s?: number | null;
}

/** A frame on which a job has just found objects. */
export interface SeenFrame extends FrameName {
  width: number;
  height: number;
  objects: { category: string; score: number | null; bbox: [number, number, number, number] }[];
}

export interface JobDetail extends Job {
  /** How it descends from another job; null for one that does not. */
  replay: Descent | null;
  stages: JobStage[];
  seen: SeenFrame[];
  frames: number | null;
  config: Record<string, unknown>;
}

export interface Gateway {
  pid: number | null;
  host: string | null;
  since_ns: number | null;
}

export interface Jobs {
  gateway: Gateway | null;
  jobs: Job[];
}

/** An event with the fields that its kind fills; `data` holds the rest. */
export type JournalLevel = 'detail' | 'step' | 'warning' | 'error';

export interface JournalEvent {
  n: number;
  level: JournalLevel;
  at: string | null;
  event?: string;
  stage?: string | null;
  [field: string]: unknown;
}

/** Part of a list of events: those that a filter takes, from a position on. */
export interface JournalPage {
  events: JournalEvent[];
  start: number;
  total: number;
  last: number;
  stages: string[];
}
