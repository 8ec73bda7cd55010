// The objects of a frame with stable ids, and one R-tree that finds them by place.

import Flatbush from 'flatbush';
import { area, bounds, isOn, type Bounds, type Point, type Shape } from './shapes';

export interface SceneObject {
  /** The annotation_id: of a model's object its own, of a new one that which this browser made. */
  id: string;
  category: string;
  shape: Shape;
  track: number | string | null;
  score: number | null;
  /** Of a track: drawn (true) or interpolated (false). */
  keyframe: boolean | null;
  source: string | null;
  model: string | null;
  origin: 'model' | 'person' | 'import';
  /** Who drew or corrected it. */
  author: string | null;
  /** Who accepted it as it is. */
  checkedBy: string | null;
}

/** From so many changed objects on, the tree is built again rather than searched around. */
const MOST_CHANGED = 32;

export class Scene {
  private readonly objects = new Map<string, SceneObject>();
  private tree: Flatbush | null = null;
  private indexed: string[] = [];
  /** Objects that are not in the tree as they are now. */
  private readonly changed = new Set<string>();
  private ranks = new Map<string, number>();
  private last = 0;
  private readonly areas = new WeakMap<Shape, number>();
  /** Counts changes. */
  version = 0;

  constructor(objects: Iterable<SceneObject> = []) {
    for (const each of objects) this.put(each);
  }

  get size(): number {
    return this.objects.size;
  }

  get = (id: string): SceneObject | undefined => this.objects.get(id);
  all = (): SceneObject[] => [...this.objects.values()];

  put(object: SceneObject): void {
    if (!this.objects.has(object.id)) this.ranks.set(object.id, (this.last += 1));
    this.objects.set(object.id, object);
    this.changed.add(object.id);
    this.version += 1;
  }

  remove(id: string): SceneObject | undefined {
    const found = this.objects.get(id);
    if (!found) return undefined;
    this.objects.delete(id);
    this.ranks.delete(id);
    this.changed.add(id);
    this.version += 1;
    return found;
  }

  /** The objects whose bounds touch a part of the frame, in the order in which they are drawn. */
  within(part: Bounds): SceneObject[] {
    if (this.changed.size > MOST_CHANGED) this.index();
    const found: SceneObject[] = [];
    const { left, top, right, bottom } = part;
    for (const at of this.tree?.search(left, top, right, bottom) ?? []) {
      const id = this.indexed[at] as string;
      const object = this.changed.has(id) ? undefined : this.objects.get(id);
      if (object) found.push(object);
    }
    for (const id of this.changed) {
      const object = this.objects.get(id);
      if (!object) continue;
      const mine = bounds(object.shape);
      if (mine.left <= right && mine.right >= left && mine.top <= bottom && mine.bottom >= top) found.push(object);
    }
    return found.sort((one, other) => this.rank(one) - this.rank(other));
  }

  /** The objects under a point, the smallest first; `slack` in pixels of the frame is forgiven. */
  under(point: Point, slack: number): SceneObject[] {
    const [x, y] = point;
    return this.within({ left: x - slack, top: y - slack, right: x + slack, bottom: y + slack })
      .filter((each) => isOn(each.shape, point, slack))
      .sort((one, other) => this.areaOf(one.shape) - this.areaOf(other.shape) || this.rank(other) - this.rank(one));
  }

  private rank = (object: SceneObject): number => this.ranks.get(object.id) ?? 0;

  private areaOf(shape: Shape): number {
    let found = this.areas.get(shape);
    if (found === undefined) {
      found = area(shape);
      this.areas.set(shape, found);
    }
    return found;
  }

  private index(): void {
    this.indexed = [...this.objects.keys()];
    this.changed.clear();
    this.tree = null;
    if (this.indexed.length === 0) return;
    const tree = new Flatbush(this.indexed.length);
    for (const { shape } of this.objects.values()) {
      const { left, top, right, bottom } = bounds(shape);
      tree.add(left, top, right, bottom);
    }
    tree.finish();
    this.tree = tree;
  }
}
