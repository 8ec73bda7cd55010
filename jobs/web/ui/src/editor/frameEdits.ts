// What stands on a frame while it is edited: operations are applied at once, and each has an inverse.

import type { Size } from '../lib/overlay';
import { Scene, type SceneObject } from './scene';
import { asSceneObject, geometryOf, shapeIn, type Op, type ReviewFrame, type ReviewObject } from './wire';

export class FrameEdits {
  readonly size: Size;
  readonly scene: Scene;
  readonly suggestions: Scene;
  /** What people deleted, which can be restored. */
  readonly deleted = new Map<string, SceneObject>();
  tags: string[];

  constructor(frame: Pick<ReviewFrame, 'width' | 'height' | 'objects' | 'deleted' | 'suggestions' | 'tags'>, private readonly me: string) {
    this.size = { width: frame.width, height: frame.height };
    const asObject = (each: ReviewObject): SceneObject => asSceneObject(each, this.size);
    this.scene = new Scene(frame.objects.map(asObject));
    this.suggestions = new Scene(frame.suggestions.map(asObject));
    for (const each of frame.deleted) this.deleted.set(each.object_id, asObject(each));
    this.tags = frame.tags;
  }

  /** Apply operations, and return those that undo them, in the order in which they are to be applied. */
  apply(ops: readonly Op[]): Op[] {
    const inverse: Op[] = [];
    for (const op of ops) inverse.unshift(...this.applyOne(op));
    return inverse;
  }

  /** Take in what others changed; objects that are still to be sent from here stay as they are. */
  merge(changed: readonly ReviewObject[], gone: readonly string[], mine: ReadonlySet<string>): void {
    for (const each of changed) {
      if (mine.has(each.object_id)) continue;
      this.deleted.delete(each.object_id);
      this.suggestions.remove(each.object_id);
      this.scene.put(asSceneObject(each, this.size));
    }
    for (const id of gone) if (!mine.has(id)) this.take(id);
  }

  private take(id: string): boolean {
    const object = this.scene.remove(id);
    if (object) this.deleted.set(id, object);
    return object !== undefined;
  }

  private applyOne(op: Op): Op[] {
    switch (op.op) {
      case 'add': {
        const shape = shapeIn(op, this.size);
        if (!shape || this.scene.get(op.object_id)) return [];
        this.scene.put({
          id: op.object_id, category: op.category, shape, track: op.track_id ?? null, keyframe: op.keyframe ?? null,
          score: null, source: 'review', model: null, origin: 'person', author: this.me, checkedBy: null,
        });
        return [{ op: 'delete', object_id: op.object_id }];
      }
      case 'set': {
        const before = this.scene.get(op.object_id);
        if (!before) return [];
        const shape = shapeIn(op, this.size);
        const undo: Op = { op: 'set', object_id: op.object_id };
        if (op.category !== undefined) undo.category = before.category;
        if (op.track_id !== undefined) undo.track_id = before.track;
        if (op.keyframe !== undefined) undo.keyframe = before.keyframe;
        if (shape) Object.assign(undo, geometryOf(before.shape));
        this.scene.put({
          ...before,
          category: op.category ?? before.category,
          track: op.track_id === undefined ? before.track : op.track_id,
          keyframe: op.keyframe === undefined ? before.keyframe : op.keyframe,
          shape: shape ?? before.shape,
          author: this.me,
        });
        return [undo];
      }
      case 'delete':
        return this.take(op.object_id) ? [{ op: 'restore', object_id: op.object_id }] : [];
      case 'restore': {
        const object = this.deleted.get(op.object_id);
        if (!object) return [];
        this.deleted.delete(op.object_id);
        this.scene.put(object);
        return [{ op: 'delete', object_id: op.object_id }];
      }
      case 'accept': {
        const suggested = this.suggestions.remove(op.object_id);
        const object = suggested ?? this.scene.get(op.object_id);
        if (!object) return [];
        this.scene.put({ ...object, checkedBy: this.me });
        // That somebody has seen an object cannot be unsaid; a suggestion that became one can be deleted.
        return suggested ? [{ op: 'delete', object_id: op.object_id }] : [];
      }
      case 'negative':
        return this.scene.all().map((each) => {
          this.take(each.id);
          return { op: 'restore' as const, object_id: each.id };
        });
      case 'tags': {
        const before = this.tags;
        this.tags = op.tags;
        return [{ op: 'tags', tags: before }];
      }
    }
  }
}
