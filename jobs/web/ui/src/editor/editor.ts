// The editor of a frame: pointers and commands become operations. It knows neither a document nor a server.

import type { Size } from '../lib/overlay';
import { FrameEdits } from './frameEdits';
import { Bitmap, type Counts } from './masks';
import { isPrompted, NO_PROMPTS, withoutLast, withPoint, type PromptDraft, type Prompts, type Sign } from './prompts';
import type { SceneObject } from './scene';
import {
  bounds, boxBetween, centreOf, clampPoint, clockwise, crossesItself, degreesTo, handlesOf, moved, nearestEdge, PULLS, resized,
  turned, within, withCorner, withNewCorner, withoutCorner, type BoxShape, type Point, type Pull, type Shape,
} from './shapes';
import { uuid7 } from './uuid7';
import { around, kept, panned, toFrame, toScreen, whole, zoomed, type View } from './view';
import { geometryOf, type Op, type ReviewFrame } from './wire';

export type Tool = 'select' | 'box' | 'turned' | 'polygon' | 'mask' | 'points';

export interface Pointer {
  id: number;
  /** In CSS pixels of the canvas. */
  at: Point;
  type: 'mouse' | 'pen' | 'touch';
  button: number;
  shift: boolean;
  alt: boolean;
}

/** What is grabbed of a selected object. */
export type Handle =
  | { kind: 'pull'; pull: Pull }
  | { kind: 'turn' }
  | { kind: 'corner'; ring: number; corner: number }
  | { kind: 'edge'; ring: number; corner: number; at: Point };

type Gesture =
  | { kind: 'pan'; last: Point }
  | { kind: 'pinch' }
  | { kind: 'move'; from: Point; object: SceneObject; under: string[]; began: boolean; was: boolean }
  | { kind: 'handle'; handle: Handle; object: SceneObject }
  | { kind: 'box'; from: Point }
  | { kind: 'turned'; from: Point }
  | { kind: 'prompt'; from: Point; sign: Sign; isBox: boolean }
  | { kind: 'brush'; points: Point[]; value: 0 | 1 };

/** What is being drawn, and is no object yet. */
export type Draft =
  | { kind: 'shape'; shape: Shape }
  | { kind: 'path'; points: readonly Point[]; to: Point | null; closes: boolean }
  | { kind: 'edge'; from: Point; to: Point }
  | ({ kind: 'prompts'; drawn: Shape | null } & PromptDraft)
  | { kind: 'brush'; points: readonly Point[]; radius: number; value: 0 | 1 };

export interface EditorListener {
  /** Operations that were applied here, and those that undo them. */
  onEdit(ops: Op[], inverse: Op[]): void;
  /** What is to be drawn again: all of it, a part of the frame (of these shapes), or the active layer alone. */
  onView(): void;
  onObjects(shapes: readonly Shape[]): void;
  onActive(): void;
  onSelection(): void;
  onTool(): void;
  /** Points or a box for a mask changed; `onMask` has the answer. */
  onPrompts(prompts: Prompts): void;
  onNotice(line: string): void;
}

const REACH: Record<Pointer['type'], number> = { mouse: 5, pen: 7, touch: 14 };
const LEAST_DRAG = 3;
/** How far above a box the handle is that turns it, in CSS pixels. */
export const TURN_HANDLE = 26;
const BRUSHES = [1, 2000] as const;

export class Editor {
  edits: FrameEdits | null = null;
  frame: Size = { width: 1, height: 1 };
  canvas: Size = { width: 1, height: 1 };
  view: View = { scale: 1, left: 0, top: 0 };
  tool: Tool = 'select';
  category = '';
  selection: readonly string[] = [];
  hovered: string | null = null;
  hoveredHandle: Handle | null = null;
  /** The object that is being changed, as it is now; it is drawn on the active layer alone. */
  active: SceneObject | null = null;
  draft: Draft | null = null;
  brush = 16;
  erases = false;
  /** What the next point says: on the object, or beside it. */
  sign: Sign = 1;
  prompts: Prompts = NO_PROMPTS;
  private mask: Counts | null = null;
  readOnly = false;
  showsSuggestions = true;
  pointer: Point | null = null;
  private gesture: Gesture | null = null;
  private path: Point[] = [];
  private edge: { from: Point; to: Point } | null = null;
  private readonly touches = new Map<number, Point>();
  private fits = true;
  private reach = REACH.mouse;
  spaceHeld = false;

  constructor(private readonly listener: EditorListener) {}

  // --- frames and views

  /** Show a frame. Zoom and position stay as they are; what was selected and is not there any more is not. */
  open(frame: ReviewFrame | null, me: string): void {
    this.cancel();
    this.hovered = this.hoveredHandle = null;
    if (!frame) {
      this.edits = null;
      this.selection = [];
      this.listener.onSelection();
      return;
    }
    this.edits = new FrameEdits(frame, me);
    const before = this.frame;
    this.frame = this.edits.size;
    this.view = this.fits ? whole(this.frame, this.canvas) : kept(this.view, before, this.frame, this.canvas);
    this.select(this.selection.filter((id) => this.edits?.scene.get(id)));
    this.listener.onView();
  }

  resize(canvas: Size): void {
    const before = this.canvas;
    this.canvas = canvas;
    if (this.fits || before.width <= 1) this.view = whole(this.frame, canvas);
    else this.view = panned(this.view, (canvas.width - before.width) / 2, (canvas.height - before.height) / 2, this.frame, canvas);
    this.listener.onView();
  }

  look(view: View, fits = false): void {
    this.view = view;
    this.fits = fits;
    this.listener.onView();
  }

  fit(): void {
    this.look(whole(this.frame, this.canvas), true);
  }

  /** Zoom to what is selected; where that is already so, to the whole frame. */
  zoomToSelection(): void {
    const object = this.selected[0];
    if (!object) return this.fit();
    const margin = Math.min(this.canvas.width, this.canvas.height) * 0.25;
    const wanted = around(bounds(object.shape), this.canvas, margin);
    const is = this.view;
    if (Math.abs(is.scale - wanted.scale) < 1e-6 && Math.hypot(is.left - wanted.left, is.top - wanted.top) < 1) this.fit();
    else this.look(wanted);
  }

  zoom(factor: number, at: Point = [this.canvas.width / 2, this.canvas.height / 2]): void {
    this.look(panned(zoomed(this.view, factor, at), 0, 0, this.frame, this.canvas));
  }

  pan(dx: number, dy: number): void {
    this.look(panned(this.view, dx, dy, this.frame, this.canvas));
  }

  // --- selection

  get selected(): SceneObject[] {
    return this.selection.flatMap((id) => this.edits?.scene.get(id) ?? []);
  }

  select(ids: readonly string[]): void {
    this.selection = ids;
    this.listener.onSelection();
    this.listener.onActive();
  }

  /** The suggestion under the pointer, the smallest first. */
  get suggestionUnder(): SceneObject | undefined {
    if (!this.pointer || !this.showsSuggestions) return undefined;
    return this.edits?.suggestions.under(toFrame(this.view, this.pointer), this.reach / this.view.scale)[0];
  }

  // --- operations

  /** Apply operations here, draw what changed, and pass them on. */
  edit(ops: readonly Op[]): void {
    if (!this.edits || ops.length === 0 || this.readOnly) return;
    const inverse = this.redraw(ops);
    this.listener.onEdit([...ops], inverse);
  }

  /** Apply operations that were passed on before, or elsewhere. */
  replay(ops: readonly Op[]): Op[] {
    return this.redraw(ops);
  }

  private redraw(ops: readonly Op[]): Op[] {
    const { edits } = this;
    if (!edits) return [];
    const ids = ops.flatMap((op) => ('object_id' in op ? [op.object_id] : op.op === 'negative' ? edits.scene.all().map((each) => each.id) : []));
    const before = ids.flatMap((id) => edits.scene.get(id)?.shape ?? edits.suggestions.get(id)?.shape ?? []);
    const inverse = edits.apply(ops);
    const after = ids.flatMap((id) => edits.scene.get(id)?.shape ?? []);
    this.selection = this.selection.filter((id) => edits.scene.get(id));
    if (this.hovered && !edits.scene.get(this.hovered)) this.hovered = null;
    this.listener.onObjects([...before, ...after]);
    this.listener.onSelection();
    this.listener.onActive();
    return inverse;
  }

  setCategory(category: string): void {
    this.category = category;
    this.listener.onTool();
    const ops: Op[] = this.selected.filter((each) => each.category !== category).map((each) => ({ op: 'set', object_id: each.id, category }));
    this.edit(ops);
  }

  deleteSelection(): void {
    const [object] = this.selected;
    const handle = this.hoveredHandle;
    if (object?.shape.kind === 'polygon' && handle?.kind === 'corner' && this.selection.length === 1) {
      const shape = withoutCorner(object.shape, handle.ring, handle.corner);
      if (!shape) return this.listener.onNotice('a polygon has three corners at least; press it elsewhere, then delete, to delete all of it');
      this.hoveredHandle = null;
      return this.edit([{ op: 'set', object_id: object.id, ...geometryOf(shape) }]);
    }
    this.edit(this.selection.map((object_id) => ({ op: 'delete', object_id })));
  }

  /** Add an object of the current category, and select it. */
  add(shape: Shape, more: { track_id?: number | string | null } = {}): string | null {
    if (this.readOnly) return null;
    if (!this.category) {
      this.listener.onNotice('choose a category first: its key, or c');
      return null;
    }
    const placed = within(shape, this.frame);
    if (!placed) return null;
    const object_id = uuid7();
    this.edit([{ op: 'add', object_id, category: this.category, ...geometryOf(placed), ...more }]);
    this.select([object_id]);
    return object_id;
  }

  /** A box in the middle of what is seen, for those who draw with the keyboard. */
  addInTheMiddle(): void {
    const [x, y] = toFrame(this.view, [this.canvas.width / 2, this.canvas.height / 2]);
    const half = Math.min(this.canvas.width, this.canvas.height) / this.view.scale / 8;
    this.add({ kind: 'box', box: boxBetween([x - half, y - half], [x + half, y + half], this.frame), degrees: 0 });
  }

  /** Move what is selected by pixels of the canvas; or only the right and lower edge of boxes. */
  nudge(dx: number, dy: number, edgeOnly: boolean): void {
    const by: Point = [dx / this.view.scale, dy / this.view.scale];
    const ops = this.selected.flatMap((each): Op[] => {
      let shape: Shape = each.shape;
      if (!edgeOnly) shape = moved(shape, by[0], by[1], this.frame);
      else if (shape.kind === 'box') {
        const corner = handlesOf(shape)[4] as Point;
        shape = resized(shape, [1, 1], [corner[0] + by[0], corner[1] + by[1]], this.frame);
      }
      return shape === each.shape ? [] : [{ op: 'set', object_id: each.id, ...geometryOf(shape) }];
    });
    this.edit(ops);
  }

  // --- tools

  use(tool: Tool): void {
    this.cancel();
    this.tool = tool;
    this.listener.onTool();
    this.listener.onActive();
  }

  setBrush(radius: number): void {
    this.brush = Math.min(BRUSHES[1], Math.max(BRUSHES[0], radius));
    this.listener.onTool();
    this.listener.onActive();
  }

  /** Whether something is begun and not done: Enter ends it, Escape leaves it. */
  get isDrawing(): boolean {
    return this.path.length > 0 || this.edge !== null || this.gesture !== null || isPrompted(this.prompts);
  }

  cancel(): void {
    const active = this.active;
    this.gesture = this.active = this.draft = this.edge = this.mask = null;
    this.path = [];
    this.prompts = NO_PROMPTS;
    if (active) this.listener.onObjects([active.shape, ...(this.edits?.scene.get(active.id) ? [(this.edits.scene.get(active.id) as SceneObject).shape] : [])]);
    this.listener.onActive();
  }

  /** End what is begun: close a polygon, keep a mask. */
  finish(): void {
    if (isPrompted(this.prompts)) return this.keepMask();
    if (this.path.length === 0) return;
    const ring = clockwise(this.path.flat());
    if (ring.length < 6) return this.listener.onNotice('a polygon has three corners at least');
    if (crossesItself(ring)) return this.listener.onNotice('edges of the polygon cross; Backspace takes its last corner back');
    this.path = [];
    this.draft = null;
    this.add({ kind: 'polygon', rings: [ring] });
  }

  takeBack(): void {
    if (isPrompted(this.prompts)) return this.prompt(withoutLast(this.prompts));
    this.path.pop();
    this.draftPath(null, false);
  }

  // --- pointers

  down(pointer: Pointer): void {
    this.reach = REACH[pointer.type];
    this.pointer = pointer.at;
    if (pointer.type === 'touch') {
      this.touches.set(pointer.id, pointer.at);
      if (this.touches.size === 2) {
        this.cancel();
        this.gesture = { kind: 'pinch' };
        return;
      }
      if (this.touches.size > 2 || this.gesture) return;
    } else if (this.gesture) return;
    if (pointer.button === 1 || this.spaceHeld) {
      this.gesture = { kind: 'pan', last: pointer.at };
      return;
    }
    if (pointer.button > 2 || !this.edits) return;
    const point = toFrame(this.view, pointer.at);
    if (pointer.button === 2 && this.tool !== 'mask' && this.tool !== 'points') return;
    if (this.readOnly) return this.downToSelect(pointer, point);
    if (this.tool === 'mask') return this.beginBrush(point, pointer);
    if (this.tool === 'points') {
      const sign: Sign = pointer.button === 2 || pointer.alt ? 0 : this.sign;
      this.gesture = { kind: 'prompt', from: clampPoint(point, this.frame), sign, isBox: false };
      return;
    }
    const handle = this.path.length === 0 && !this.edge ? this.handleAt(pointer.at) : null;
    const [object] = this.selected;
    if (handle && object) return this.grab(handle, object, pointer);
    if (this.tool === 'box') this.gesture = { kind: 'box', from: clampPoint(point, this.frame) };
    else if (this.tool === 'turned') this.downTurned(point);
    else if (this.tool === 'polygon') this.addCorner(pointer.at);
    else this.downToSelect(pointer, point);
  }

  private downToSelect(pointer: Pointer, point: Point): void {
    const under = this.under(point);
    const top = under.find((each) => this.selection.includes(each.id)) ?? under[0];
    if (!top) {
      if (!pointer.shift) this.select([]);
      this.gesture = { kind: 'pan', last: pointer.at };
      return;
    }
    const was = this.selection.includes(top.id);
    if (pointer.shift) {
      this.select(was ? this.selection.filter((id) => id !== top.id) : [...this.selection, top.id]);
      return;
    }
    if (!was || this.selection.length > 1) this.select([top.id]);
    this.gesture = { kind: 'move', from: pointer.at, object: top, under: under.map((each) => each.id), began: false, was };
  }

  move(pointer: Pointer): void {
    this.pointer = pointer.at;
    const { gesture } = this;
    if (pointer.type === 'touch' && this.touches.has(pointer.id)) {
      if (gesture?.kind === 'pinch') return this.pinch(pointer);
      this.touches.set(pointer.id, pointer.at);
    }
    const point = toFrame(this.view, pointer.at);
    if (!gesture) return this.hover(pointer.at, point);
    switch (gesture.kind) {
      case 'pan':
        this.pan(pointer.at[0] - gesture.last[0], pointer.at[1] - gesture.last[1]);
        gesture.last = pointer.at;
        return;
      case 'move':
        if (this.readOnly) return;
        if (!gesture.began && Math.hypot(pointer.at[0] - gesture.from[0], pointer.at[1] - gesture.from[1]) < LEAST_DRAG) return;
        if (!gesture.began) this.lift(gesture.object);
        gesture.began = true;
        this.change(moved(gesture.object.shape, (pointer.at[0] - gesture.from[0]) / this.view.scale, (pointer.at[1] - gesture.from[1]) / this.view.scale, this.frame));
        return;
      case 'handle':
        this.change(this.pulled(gesture.handle, gesture.object.shape, point, pointer.shift));
        return;
      case 'box':
        this.draft = { kind: 'shape', shape: { kind: 'box', box: boxBetween(gesture.from, point, this.frame), degrees: 0 } };
        break;
      case 'turned':
        this.draft = { kind: 'edge', from: gesture.from, to: point };
        break;
      case 'prompt':
        gesture.isBox ||= gesture.sign === 1 && Math.hypot(point[0] - gesture.from[0], point[1] - gesture.from[1]) * this.view.scale >= 2 * LEAST_DRAG;
        if (gesture.isBox) this.draftPrompts({ kind: 'box', box: boxBetween(gesture.from, point, this.frame), degrees: 0 });
        return;
      case 'brush':
        gesture.points.push(point);
        this.draft = { kind: 'brush', points: gesture.points, radius: this.brush, value: gesture.value };
        break;
      case 'pinch':
        return;
    }
    this.listener.onActive();
  }

  up(pointer: Pointer): void {
    this.touches.delete(pointer.id);
    const { gesture } = this;
    if (!gesture) return;
    if (gesture.kind === 'pinch') {
      if (this.touches.size === 0) this.gesture = null;
      return;
    }
    this.gesture = null;
    const point = toFrame(this.view, pointer.at);
    if (gesture.kind === 'move') {
      if (gesture.began) this.drop();
      // Pressed again where something is selected: what is under it is next.
      else if (gesture.was && gesture.under.length > 1) {
        const next = gesture.under[(gesture.under.indexOf(gesture.object.id) + 1) % gesture.under.length];
        if (next) this.select([next]);
      }
    } else if (gesture.kind === 'handle') this.drop();
    else if (gesture.kind === 'box') {
      this.draft = null;
      const box = boxBetween(gesture.from, point, this.frame);
      if (Math.min(box[2], box[3]) * this.view.scale >= LEAST_DRAG) this.add({ kind: 'box', box, degrees: 0 });
      else this.pick(point);
    } else if (gesture.kind === 'turned') {
      const length = Math.hypot(point[0] - gesture.from[0], point[1] - gesture.from[1]) * this.view.scale;
      this.draft = null;
      if (length >= LEAST_DRAG) this.edge = { from: gesture.from, to: point };
      else this.pick(point);
    } else if (gesture.kind === 'prompt') this.endPrompt(gesture.from, gesture.isBox ? point : null, gesture.sign);
    else if (gesture.kind === 'brush') this.endBrush(gesture.points, gesture.value);
    this.listener.onActive();
  }

  /** The pointer was taken away in the middle of something: nothing of it remains. */
  lost(pointer: Pointer): void {
    this.touches.delete(pointer.id);
    if (this.gesture?.kind === 'pinch' && this.touches.size > 0) return;
    this.cancel();
  }

  leave(): void {
    this.pointer = null;
    if (this.hovered === null && this.hoveredHandle === null && this.tool !== 'mask') return;
    this.hovered = this.hoveredHandle = null;
    this.listener.onActive();
  }

  // --- parts of gestures

  private under = (point: Point): SceneObject[] => this.edits?.scene.under(point, this.reach / this.view.scale / 2) ?? [];

  private pick(point: Point): void {
    this.select(this.under(point).slice(0, 1).map((each) => each.id));
  }

  private hover(at: Point, point: Point): void {
    const before = [this.hovered, JSON.stringify(this.hoveredHandle)];
    this.hoveredHandle = this.tool === 'mask' || this.path.length > 0 ? null : this.handleAt(at);
    this.hovered = this.under(point)[0]?.id ?? null;
    if (this.path.length > 0) this.draftPath(point, this.closes(at));
    else if (this.edge) this.draft = { kind: 'shape', shape: this.turnedBox(point) };
    else if (this.tool !== 'mask' && !this.edits?.suggestions.size && before[0] === this.hovered && before[1] === JSON.stringify(this.hoveredHandle)) return;
    this.listener.onActive();
  }

  private pinch(pointer: Pointer): void {
    const before = [...this.touches.values()];
    this.touches.set(pointer.id, pointer.at);
    const after = [...this.touches.values()];
    const [a, b, c, d] = [before[0], before[1], after[0], after[1]] as [Point, Point, Point, Point];
    const apart = (one: Point, other: Point): number => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
    const middle: Point = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const view = zoomed(this.view, apart(c, d) / apart(a, b), middle);
    this.look(panned(view, (c[0] + d[0]) / 2 - middle[0], (c[1] + d[1]) / 2 - middle[1], this.frame, this.canvas));
  }

  /** Take an object off the layer of still shapes, while it is changed. */
  private lift(object: SceneObject): void {
    this.active = object;
    this.listener.onObjects([object.shape]);
  }

  private change(shape: Shape): void {
    if (!this.active) return;
    this.active = { ...this.active, shape };
    this.listener.onActive();
  }

  private drop(): void {
    const { active } = this;
    this.active = null;
    if (!active) return;
    const before = this.edits?.scene.get(active.id);
    const ring = active.shape.kind === 'polygon' ? active.shape.rings.find(crossesItself) : undefined;
    const { left, top, right, bottom } = bounds(active.shape);
    const isEmpty = (right - left) * this.view.scale < 1 || (bottom - top) * this.view.scale < 1;
    if (!before || ring || isEmpty) {
      if (ring) this.listener.onNotice('edges of the polygon would cross; it stays as it was');
      this.listener.onObjects([active.shape, ...(before ? [before.shape] : [])]);
      return;
    }
    const geometry = geometryOf(within(active.shape, this.frame) ?? before.shape);
    if (JSON.stringify(geometry) === JSON.stringify(geometryOf(before.shape))) this.listener.onObjects([before.shape]);
    else this.edit([{ op: 'set', object_id: active.id, ...geometry }]);
  }

  private grab(handle: Handle, object: SceneObject, pointer: Pointer): void {
    if (pointer.alt && handle.kind === 'corner') {
      this.hoveredHandle = handle;
      return this.deleteSelection();
    }
    this.lift(object);
    if (handle.kind === 'edge' && object.shape.kind === 'polygon') {
      const shape = withNewCorner(object.shape, handle.ring, handle.corner, handle.at);
      this.gesture = { kind: 'handle', handle: { kind: 'corner', ring: handle.ring, corner: handle.corner + 1 }, object: { ...object, shape } };
      this.change(shape);
    } else this.gesture = { kind: 'handle', handle, object };
  }

  private pulled(handle: Handle, shape: Shape, to: Point, snaps: boolean): Shape {
    if (shape.kind === 'box' && handle.kind === 'pull') return resized(shape, handle.pull, to, this.frame);
    if (shape.kind === 'box' && handle.kind === 'turn') {
      const degrees = degreesTo(centreOf(shape.box), to);
      return { ...shape, degrees: snaps ? (Math.round(degrees / 15) * 15) % 360 : degrees };
    }
    if (shape.kind === 'polygon' && handle.kind === 'corner') return withCorner(shape, handle.ring, handle.corner, clampPoint(to, this.frame));
    return shape;
  }

  /** The handle of the selected object at a point of the canvas. */
  handleAt(at: Point): Handle | null {
    const [object] = this.selected;
    if (!object || this.selection.length !== 1 || this.readOnly) return null;
    const near = (point: Point): boolean => {
      const [x, y] = toScreen(this.view, point);
      return Math.hypot(x - at[0], y - at[1]) <= this.reach + 2;
    };
    const { shape } = object;
    if (shape.kind === 'box') {
      const found = handlesOf(shape).findIndex(near);
      if (found >= 0) return { kind: 'pull', pull: PULLS[found] as Pull };
      const [x, y] = turnHandle(shape, this.view);
      return Math.hypot(x - at[0], y - at[1]) <= this.reach + 3 ? { kind: 'turn' } : null;
    }
    if (shape.kind !== 'polygon') return null;
    const point = toFrame(this.view, at);
    for (const [ring, points] of shape.rings.entries()) {
      for (let corner = 0; corner * 2 < points.length; corner += 1) {
        if (near([points[corner * 2] as number, points[corner * 2 + 1] as number])) return { kind: 'corner', ring, corner };
      }
      const edge = nearestEdge(points, point);
      if (edge.distance * this.view.scale <= this.reach) return { kind: 'edge', ring, corner: edge.corner, at: point };
    }
    return null;
  }

  private closes(at: Point): boolean {
    const first = this.path[0];
    if (!first || this.path.length < 3) return false;
    const [x, y] = toScreen(this.view, first);
    return Math.hypot(x - at[0], y - at[1]) <= this.reach + 3;
  }

  private addCorner(at: Point): void {
    if (this.closes(at)) return this.finish();
    const point = clampPoint(toFrame(this.view, at), this.frame);
    const last = this.path.at(-1);
    // Pressed twice at one place: the polygon is done.
    if (last && Math.hypot(last[0] - point[0], last[1] - point[1]) * this.view.scale < 2) return this.finish();
    this.path.push(point);
    this.draftPath(null, false);
  }

  private draftPath(to: Point | null, closes: boolean): void {
    this.draft = this.path.length > 0 ? { kind: 'path', points: this.path, to, closes } : null;
    this.listener.onActive();
  }

  private downTurned(point: Point): void {
    if (!this.edge) {
      this.gesture = { kind: 'turned', from: point };
      return;
    }
    const shape = this.turnedBox(point);
    this.edge = this.draft = null;
    if (Math.min(shape.box[2], shape.box[3]) * this.view.scale >= LEAST_DRAG) this.add(shape);
    this.listener.onActive();
  }

  /** The box with an edge that was drawn, as high as a point is away from it. */
  private turnedBox(point: Point): BoxShape {
    const { from, to } = this.edge ?? { from: point, to: point };
    const width = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const [ux, uy] = width > 0 ? [(to[0] - from[0]) / width, (to[1] - from[1]) / width] : [1, 0];
    const height = (point[0] - from[0]) * -uy + (point[1] - from[1]) * ux;
    const centre: Point = [(from[0] + to[0]) / 2 - (uy * height) / 2, (from[1] + to[1]) / 2 + (ux * height) / 2];
    const degrees = ((Math.atan2(uy, ux) * 180) / Math.PI + 360) % 360;
    return { kind: 'box', box: [centre[0] - width / 2, centre[1] - Math.abs(height) / 2, width, Math.abs(height)], degrees };
  }

  // --- masks by points and boxes

  /** Choose the tool; the selected box, if any, is the first prompt, and the mask becomes its shape. */
  usePoints(sign: Sign): void {
    this.sign = sign;
    if (this.tool !== 'points') this.use('points');
    else this.listener.onTool();
    const [object] = this.selected;
    if (object?.shape.kind === 'box' && object.shape.degrees === 0 && this.selection.length === 1 && !isPrompted(this.prompts) && !this.readOnly) {
      this.prompt({ points: [], box: object.shape.box, object: object.id });
    }
  }

  private endPrompt(from: Point, to: Point | null, sign: Sign): void {
    if (to) {
      const box = boxBetween(from, to, this.frame);
      if (box[2] >= 1 && box[3] >= 1) return this.prompt({ ...this.prompts, box });
    }
    this.prompt(withPoint(this.prompts, from, sign));
  }

  private prompt(prompts: Prompts): void {
    this.prompts = prompts;
    if (!isPrompted(prompts)) this.mask = null;
    this.draftPrompts(null);
    this.listener.onPrompts(prompts);
  }

  /** Show what a model says to prompts; null for nothing. What was asked before these prompts is of no use. */
  onMask(prompts: Prompts, mask: Counts | null): void {
    if (prompts !== this.prompts) return;
    this.mask = mask;
    this.draftPrompts(null);
    if (!mask && isPrompted(prompts)) this.listener.onNotice('the model finds no object there: give it another point, or a box');
  }

  private draftPrompts(drawn: Shape | null): void {
    this.draft = isPrompted(this.prompts) || drawn ? { kind: 'prompts', drawn, prompts: this.prompts, mask: this.mask } : null;
    this.listener.onActive();
  }

  private keepMask(): void {
    const { mask, prompts } = this;
    if (!mask) return this.listener.onNotice('there is no mask yet; Escape leaves it');
    const shape: Shape = { kind: 'mask', counts: mask, size: this.frame };
    this.prompts = NO_PROMPTS;
    this.mask = this.draft = null;
    if (prompts.object && this.edits?.scene.get(prompts.object)) this.edit([{ op: 'set', object_id: prompts.object, ...geometryOf(shape) }]);
    else this.add(shape);
    this.select([]);
  }

  private beginBrush(point: Point, pointer: Pointer): void {
    const value = this.erases !== (pointer.button === 2) ? 0 : 1;
    this.gesture = { kind: 'brush', points: [point], value };
    this.draft = { kind: 'brush', points: [point], radius: this.brush, value };
    this.listener.onActive();
  }

  private endBrush(points: readonly Point[], value: 0 | 1): void {
    this.draft = null;
    const object = this.selected.find((each) => each.shape.kind === 'mask');
    if (!object && value === 0) return this.listener.onNotice('select the mask that the eraser is to change');
    const bitmap = new Bitmap(this.frame, object?.shape.kind === 'mask' ? object.shape.counts : []);
    points.forEach((point, at) => bitmap.stroke(points[Math.max(0, at - 1)] as Point, point, this.brush, value));
    const shape: Shape = { kind: 'mask', counts: bitmap.counts(), size: this.frame };
    const isEmpty = shape.counts.length < 2;
    if (!object) {
      if (!isEmpty) this.add(shape);
    } else if (isEmpty) this.edit([{ op: 'delete', object_id: object.id }]);
    else this.edit([{ op: 'set', object_id: object.id, ...geometryOf(shape) }]);
  }
}

/** Where the handle is that turns a box, in CSS pixels of the canvas. */
export function turnHandle(shape: BoxShape, view: View): Point {
  const [x, y, w] = shape.box;
  const [mx, my] = toScreen(view, turned([x + w / 2, y], centreOf(shape.box), shape.degrees));
  const angle = (shape.degrees * Math.PI) / 180;
  return [mx + Math.sin(angle) * TURN_HANDLE, my - Math.cos(angle) * TURN_HANDLE];
}

