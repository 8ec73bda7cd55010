// Objects and operations as the routes of review have them, and how they become shapes of a scene.

import type { Size } from '../lib/overlay';
import type { FrameName, FrameNumber } from '../lib/types';
import { compressed, decompressed } from './masks';
import type { SceneObject } from './scene';
import { boxOf, type Shape } from './shapes';

/** Exactly one kind of geometry; it replaces the whole of an object's. */
export type Geometry =
  | { bbox: [number, number, number, number]; rotation?: number }
  | { polygons: number[][] }
  | { rle: string };

export interface Fields {
  category?: string;
  track_id?: number | string | null;
  keyframe?: boolean | null;
  bbox?: [number, number, number, number];
  rotation?: number;
  polygons?: number[][];
  rle?: string;
}

export type Op =
  | ({ op: 'add'; object_id: string; category: string } & Fields)
  | ({ op: 'set'; object_id: string } & Fields)
  | { op: 'delete' | 'restore' | 'accept'; object_id: string }
  | { op: 'negative' }
  | { op: 'tags'; tags: string[] };

export interface ReviewObject {
  object_id: string;
  category: string;
  bbox: [number, number, number, number];
  rotation: number | null;
  polygons: number[][] | null;
  rle: string | null;
  track_id: number | string | null;
  keyframe: boolean | null;
  text: string | null;
  score: number | null;
  source: string | null;
  model: string | null;
  origin: 'model' | 'person' | 'import';
  author: string | null;
  checked_by: string | null;
  revision: number;
}

export type FrameState = 'open' | 'submitted' | 'approved' | 'returned';

export interface ReviewFrame extends FrameName {
  h: string;
  width: number;
  height: number;
  revision: number;
  state: FrameState;
  objects: ReviewObject[];
  deleted: ReviewObject[];
  suggestions: ReviewObject[];
  submitted_by: string | null;
  approved_by: string | null;
  note: string | null;
  tags: string[];
  uncertainty: number | null;
  doubts: string[];
  keep: boolean | null;
  lease: { lease_id?: string; user: string; is_mine: boolean; until: string } | null;
  n_comments: number;
  previous: FrameNumber | null;
  next: FrameNumber | null;
  may: string[];
}

export function shapeOf(object: ReviewObject, frame: Size): Shape {
  if (object.rle) {
    return { kind: 'mask', counts: decompressed(object.rle), size: { width: frame.width, height: frame.height } };
  }
  if (object.polygons?.length) return { kind: 'polygon', rings: object.polygons };
  return { kind: 'box', box: object.bbox, degrees: object.rotation ?? 0 };
}

export const asSceneObject = (object: ReviewObject, frame: Size): SceneObject => ({
  id: object.object_id,
  category: object.category,
  shape: shapeOf(object, frame),
  track: object.track_id,
  keyframe: object.keyframe,
  score: object.score,
  source: object.source,
  model: object.model,
  origin: object.origin,
  author: object.author,
  checkedBy: object.checked_by,
});

const rounded = (value: number): number => Math.round(value * 100) / 100;

/** The geometry of a shape, to a hundredth of a pixel. */
export function geometryOf(shape: Shape): Geometry {
  if (shape.kind === 'mask') return { rle: compressed(shape.counts) };
  if (shape.kind === 'polygon') return { polygons: shape.rings.map((ring) => ring.map(rounded)) };
  const [x, y, w, h] = boxOf(shape).map(rounded) as [number, number, number, number];
  return { bbox: [x, y, w, h], rotation: rounded(shape.degrees) % 360 };
}

/** The shape that the fields of an operation give; undefined where they have no geometry. */
export function shapeIn(fields: Fields, frame: Size): Shape | undefined {
  if (fields.rle !== undefined) {
    return { kind: 'mask', counts: decompressed(fields.rle), size: { width: frame.width, height: frame.height } };
  }
  if (fields.polygons) return { kind: 'polygon', rings: fields.polygons };
  if (fields.bbox) return { kind: 'box', box: fields.bbox, degrees: fields.rotation ?? 0 };
  return undefined;
}
