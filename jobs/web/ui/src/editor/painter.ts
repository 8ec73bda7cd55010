// Draws a frame on three layers: its image, the still shapes, and what moves. While the view moves, the layer of still
// shapes is moved as it is, and drawn again when the view rests; what is edited is drawn within its own bounds alone.

import type { Size } from '../lib/overlay';
import type { Draft, Editor } from './editor';
import { turnHandle } from './editor';
import { columnsOf } from './masks';
import type { SceneObject } from './scene';
import { bounds, centreOf, cornersOf, handlesOf, turned, type Bounds, type MaskShape, type Point, type Shape } from './shapes';
import { seen, toScreen, transformBetween, type View } from './view';

export interface Look {
  /** The colour of a category. */
  colourOf(category: string): string;
  labelOf(object: SceneObject): string;
  /** The colour of text over a colour of a category. */
  textOn(colour: string): string;
  accent: string;
  font: string;
}

export interface Layers {
  image: HTMLCanvasElement;
  still: HTMLCanvasElement;
  active: HTMLCanvasElement;
}

const REST_MS = 60;
/** So long still shapes are drawn in one frame of the screen; the rest is drawn in the next ones. */
const SLICE_MS = 10;
/** A frame that was just opened has nothing to be moved yet: its shapes come before all else. */
const FIRST_SLICE_MS = 50;
const [MOST_LABELS, MOST_HALOS] = [60, 400];
const MARGIN = 4;

const MOST_WIDTHS = 5000;

/** Where a label is, in CSS pixels of the canvas. */
interface Place {
  left: number;
  right: number;
  top: number;
}

type Context = CanvasRenderingContext2D;

export class Painter {
  private readonly image: Context;
  private readonly active: Context;
  private still: Context;
  private spare: Context;
  private drawn: View | null = null;
  private ratio: Point = [1, 1];
  private bitmap: CanvasImageSource | null = null;
  private stillVisible: SceneObject[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private job = 0;
  private frameAsked = 0;
  private readonly dirty = { image: true, active: true };
  /** Hides all shapes, while a key is held. */
  hidden = false;
  look: Look;
  /** Called when the still shapes are drawn in the present view. */
  onRest: () => void = () => {};

  constructor(private readonly editor: Editor, layers: Layers, look: Look) {
    this.look = look;
    this.image = contextOf(layers.image);
    this.still = contextOf(layers.still);
    this.spare = contextOf(layers.still.cloneNode() as HTMLCanvasElement);
    this.active = contextOf(layers.active);
  }

  /** The size of the canvas in CSS pixels, and in pixels of the device, which need not be a whole multiple. */
  resize(css: Size, device: Size): void {
    for (const { canvas } of [this.image, this.still, this.spare, this.active]) {
      canvas.width = device.width;
      canvas.height = device.height;
    }
    this.ratio = [device.width / css.width, device.height / css.height];
    this.drawn = null;
    this.editor.resize(css);
    // What was on the screen is gone with its size: it is drawn at once.
    this.drawStill(true);
    this.paint();
  }

  /** Show an image; the one before stays until then. */
  show(bitmap: CanvasImageSource | null): void {
    this.bitmap = bitmap;
    this.dirty.image = true;
    this.ask();
  }

  /** The view changed. */
  moved(): void {
    this.dirty.image = this.dirty.active = true;
    this.ask();
    clearTimeout(this.timer);
    this.job += 1;
    this.timer = setTimeout(() => this.drawStill(), REST_MS);
  }

  /** Another frame: all is drawn, and the old shapes are not seen over the new image. */
  opened(): void {
    clearTimeout(this.timer);
    this.drawn = null;
    this.drawStill(false, FIRST_SLICE_MS);
    this.dirty.image = this.dirty.active = true;
    this.ask();
  }

  activeChanged(): void {
    this.dirty.active = true;
    this.ask();
  }

  /** Shapes changed: what is within their bounds is drawn again. */
  objectsChanged(shapes: readonly Shape[]): void {
    this.dirty.active = true;
    this.ask();
    if (!this.drawn || this.drawn !== this.editor.view) {
      this.moved();
      return;
    }
    const scene = this.editor.edits?.scene;
    if (scene) this.stillVisible = scene.within(seen(this.editor.view, this.editor.canvas));
    if (shapes.length > 64) this.drawStill();
    else for (const shape of shapes) this.redraw(bounds(shape));
  }

  redrawAll(): void {
    this.drawn = null;
    this.drawStill();
    this.dirty.image = this.dirty.active = true;
    this.ask();
  }

  /** Draw everything as it is now, without waiting for a frame of the screen. */
  finishNow(): void {
    clearTimeout(this.timer);
    this.drawStill(true);
    this.dirty.image = this.dirty.active = true;
    this.paint();
  }

  stop(): void {
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frameAsked);
    this.job += 1;
  }

  private ask(): void {
    if (this.frameAsked) return;
    this.frameAsked = requestAnimationFrame(() => {
      this.frameAsked = 0;
      this.paint();
    });
  }

  private paint(): void {
    if (this.dirty.image) this.drawImage();
    if (this.dirty.image && this.drawn) this.still.canvas.style.transform = transformBetween(this.drawn, this.editor.view);
    if (this.dirty.active) this.drawActive();
    this.dirty.image = this.dirty.active = false;
  }

  private clear(context: Context): void {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  }

  /** From here on a context draws in CSS pixels. */
  private inCss(context: Context): void {
    context.setTransform(this.ratio[0], 0, 0, this.ratio[1], 0, 0);
  }

  private drawImage(): void {
    const { view, frame } = this.editor;
    this.clear(this.image);
    if (!this.bitmap) return;
    this.inCss(this.image);
    // Single pixels are seen as such where they are large.
    this.image.imageSmoothingEnabled = view.scale * this.ratio[0] < 4;
    this.image.drawImage(this.bitmap, view.left, view.top, frame.width * view.scale, frame.height * view.scale);
  }

  /** Draw the still shapes in the present view, a slice in each frame of the screen, and show them when all are drawn. */
  private drawStill(atOnce = false, slice = SLICE_MS): void {
    this.job += 1;
    const mine = this.job;
    const { view, edits, canvas } = this.editor;
    const context = this.spare;
    this.clear(context);
    const objects = edits ? edits.scene.within(seen(view, canvas)) : [];
    let at = 0;
    const step = (): void => {
      if (mine !== this.job) return;
      this.inCss(context);
      const until = performance.now() + slice;
      for (; at < objects.length; at += 1) {
        if (!atOnce && at % 16 === 15 && performance.now() > until) {
          requestAnimationFrame(step);
          return;
        }
        this.drawObject(context, objects[at] as SceneObject, objects.length);
      }
      this.stillVisible = objects;
      this.swap(view);
    };
    step();
  }

  private swap(view: View): void {
    const [shown, next] = [this.still, this.spare];
    next.canvas.style.transform = transformBetween(view, this.editor.view);
    shown.canvas.replaceWith(next.canvas);
    this.still = next;
    this.spare = shown;
    this.drawn = view;
    this.dirty.active = true;
    this.ask();
    this.onRest();
  }

  private redraw(part: Bounds): void {
    const { view, edits } = this.editor;
    if (!edits || !Number.isFinite(part.left)) return;
    const [left, top] = toScreen(view, [part.left, part.top]);
    const [right, bottom] = toScreen(view, [part.right, part.bottom]);
    const context = this.still;
    // Whole pixels of the device, so that no edge of the cut is seen.
    const [rx, ry] = this.ratio;
    const x = Math.floor((left - MARGIN) * rx);
    const y = Math.floor((top - MARGIN) * ry);
    const w = Math.ceil((right + MARGIN) * rx) - x;
    const h = Math.ceil((bottom + MARGIN) * ry) - y;
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.beginPath();
    context.rect(x, y, w, h);
    context.clip();
    context.clearRect(x, y, w, h);
    this.inCss(context);
    const slack = (2 * MARGIN) / view.scale;
    const within = { left: part.left - slack, top: part.top - slack, right: part.right + slack, bottom: part.bottom + slack };
    for (const object of edits.scene.within(within)) this.drawObject(context, object, this.stillVisible.length);
    context.restore();
  }

  private drawObject(context: Context, object: SceneObject, among: number): void {
    if (this.hidden || object.id === this.editor.active?.id) return;
    const colour = this.look.colourOf(object.category);
    if (among <= MOST_HALOS) {
      context.strokeStyle = 'rgb(0 0 0 / 0.55)';
      context.lineWidth = 3;
      this.outline(context, object.shape, 'none');
    }
    context.strokeStyle = colour;
    context.fillStyle = colour;
    context.lineWidth = 1.5;
    // Dashes of what nobody has checked take longer to draw than all else: where there are many, they are left out.
    const isDashed = among <= MOST_HALOS && !object.checkedBy && object.origin !== 'person';
    if (isDashed) context.setLineDash([7, 2]);
    // Where there are many, so are their areas, which would hide the image and take most of the time.
    this.outline(context, object.shape, among <= MOST_HALOS || object.shape.kind === 'mask' ? 'faint' : 'none');
    if (isDashed) context.setLineDash([]);
  }

  private outline(context: Context, shape: Shape, fill: 'none' | 'faint' | 'strong'): void {
    const { view } = this.editor;
    if (shape.kind === 'mask') {
      if (fill !== 'none') this.fillMask(context, shape, fill === 'strong' ? 0.6 : 0.4);
      return;
    }
    if (shape.kind === 'box' && shape.degrees === 0) {
      const [x, y, w, h] = shape.box;
      context.strokeRect(view.left + x * view.scale, view.top + y * view.scale, w * view.scale, h * view.scale);
      return;
    }
    context.beginPath();
    this.trace(context, shape.kind === 'box' ? [cornersOf(shape).flat()] : shape.rings);
    if (fill !== 'none' && shape.kind === 'polygon') {
      context.globalAlpha = fill === 'strong' ? 0.3 : 0.12;
      context.fill('evenodd');
      context.globalAlpha = 1;
    }
    context.stroke();
  }

  private trace(context: Context, rings: readonly (readonly number[])[]): void {
    const { scale, left, top } = this.editor.view;
    const least = 0.5;
    for (const ring of rings) {
      let [lastX, lastY] = [Infinity, Infinity];
      for (let at = 0; at + 1 < ring.length; at += 2) {
        const x = left + (ring[at] as number) * scale;
        const y = top + (ring[at + 1] as number) * scale;
        if (at === 0) context.moveTo(x, y);
        // Corners that nobody could tell apart are one.
        else if (Math.abs(x - lastX) < least && Math.abs(y - lastY) < least) continue;
        else context.lineTo(x, y);
        [lastX, lastY] = [x, y];
      }
      context.closePath();
    }
  }

  private readonly masks = new WeakMap<readonly number[], Path2D>();

  private fillMask(context: Context, shape: MaskShape, alpha: number): void {
    let path = this.masks.get(shape.counts);
    if (!path) {
      const made = new Path2D();
      columnsOf(shape.counts, shape.size, (x, y, h) => made.rect(x, y, 1, h));
      path = made;
      this.masks.set(shape.counts, made);
    }
    const { scale, left, top } = this.editor.view;
    context.save();
    context.transform(scale, 0, 0, scale, left, top);
    context.globalAlpha = alpha;
    context.fill(path);
    context.restore();
  }

  private drawActive(): void {
    const context = this.active;
    const { editor } = this;
    const { edits, view, canvas } = editor;
    this.clear(context);
    if (!edits || this.hidden) return;
    this.inCss(context);
    if (editor.showsSuggestions) this.drawSuggestions(context);
    const hovered = editor.hovered && !editor.active ? edits.scene.get(editor.hovered) : undefined;
    if (hovered && !editor.selection.includes(hovered.id)) this.emphasise(context, hovered, false);
    const selected = editor.selection.length > 200 ? editor.selected.slice(0, 200) : editor.selected;
    for (const each of selected) this.emphasise(context, each.id === editor.active?.id ? editor.active : each, true);
    const one = selected.length === 1 ? (selected[0] as SceneObject) : undefined;
    if (one && !editor.readOnly) this.drawHandles(context, one.id === editor.active?.id ? editor.active : one);
    this.drawLabels(context, hovered, selected, view, canvas);
    this.drawDraft(context);
  }

  private emphasise(context: Context, object: SceneObject, isSelected: boolean): void {
    context.lineWidth = isSelected ? 4 : 3.5;
    context.strokeStyle = 'rgb(0 0 0 / 0.6)';
    this.outline(context, object.shape, 'none');
    context.lineWidth = isSelected ? 2.25 : 2;
    context.strokeStyle = context.fillStyle = isSelected ? '#ffffff' : this.look.colourOf(object.category);
    if (isSelected) context.fillStyle = this.look.colourOf(object.category);
    this.outline(context, object.shape, isSelected ? 'strong' : 'faint');
  }

  private drawSuggestions(context: Context): void {
    const { edits, view, canvas, suggestionUnder } = this.editor;
    if (!edits?.suggestions.size) return;
    const found = edits.suggestions.within(seen(view, canvas));
    for (const each of found) {
      context.strokeStyle = 'rgb(0 0 0 / 0.55)';
      context.lineWidth = each === suggestionUnder ? 4 : 3;
      this.outline(context, each.shape, 'none');
      context.strokeStyle = context.fillStyle = this.look.colourOf(each.category);
      context.lineWidth = each === suggestionUnder ? 2.5 : 1.5;
      context.setLineDash([2, 3]);
      this.outline(context, each.shape, 'faint');
      context.setLineDash([]);
      if (found.length <= MOST_LABELS) this.label(context, each, `? ${this.look.labelOf(each)}`);
    }
  }

  private drawHandles(context: Context, object: SceneObject): void {
    const { view, hoveredHandle } = this.editor;
    const { shape } = object;
    const dot = (point: Point, isHovered: boolean): void => {
      const [x, y] = toScreen(view, point);
      const half = isHovered ? 5 : 3.5;
      context.fillStyle = isHovered ? this.look.accent : '#ffffff';
      context.strokeStyle = 'rgb(0 0 0 / 0.8)';
      context.lineWidth = 1;
      context.beginPath();
      context.rect(x - half, y - half, 2 * half, 2 * half);
      context.fill();
      context.stroke();
    };
    if (shape.kind === 'box') {
      handlesOf(shape).forEach((point) => dot(point, false));
      const [x, y] = turnHandle(shape, view);
      const [mx, my] = toScreen(view, turned([shape.box[0] + shape.box[2] / 2, shape.box[1]], centreOf(shape.box), shape.degrees));
      context.strokeStyle = '#ffffff';
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(mx, my);
      context.lineTo(x, y);
      context.stroke();
      context.fillStyle = hoveredHandle?.kind === 'turn' ? this.look.accent : '#ffffff';
      context.strokeStyle = 'rgb(0 0 0 / 0.8)';
      context.beginPath();
      context.arc(x, y, hoveredHandle?.kind === 'turn' ? 6 : 4.5, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    } else if (shape.kind === 'polygon') {
      const many = shape.rings.reduce((sum, ring) => sum + ring.length / 2, 0);
      if (many > 2000) return;
      shape.rings.forEach((ring, at) => {
        for (let corner = 0; corner * 2 < ring.length; corner += 1) {
          const isHovered = hoveredHandle?.kind === 'corner' && hoveredHandle.ring === at && hoveredHandle.corner === corner;
          dot([ring[corner * 2] as number, ring[corner * 2 + 1] as number], isHovered);
        }
      });
      if (hoveredHandle?.kind === 'edge') dot(hoveredHandle.at, true);
    }
  }

  private drawLabels(context: Context, hovered: SceneObject | undefined, selected: SceneObject[], view: View, canvas: Size): void {
    const { edits, active } = this.editor;
    if (!edits) return;
    const part = seen(view, canvas);
    const first = [...(hovered ? [hovered] : []), ...selected];
    // What is being moved is drawn with each step of the pointer: its own label is enough.
    const some = this.drawn === view && !active && this.stillVisible.length <= MOST_LABELS ? this.stillVisible : [];
    const places: Place[] = [];
    for (const each of [...first, ...some.filter((other) => !first.includes(other))]) {
      const now = each.id === active?.id ? active : (edits.scene.get(each.id) ?? null);
      if (!now) continue;
      const { left, top, right, bottom } = bounds(now.shape);
      if (right < part.left || left > part.right || bottom < part.top || top > part.bottom) continue;
      this.label(context, now, this.look.labelOf(now), places);
    }
  }

  private readonly widths = new Map<string, number>();

  private widthOf(context: Context, text: string): number {
    let width = this.widths.get(text);
    if (width === undefined) {
      if (this.widths.size > MOST_WIDTHS) this.widths.clear();
      width = context.measureText(text).width + 6;
      this.widths.set(text, width);
    }
    return width;
  }

  /** Draw a label, unless it would hide one of those before it; these are in `places`, to which it is added. */
  private label(context: Context, object: SceneObject, text: string, places: Place[] = []): void {
    const { view } = this.editor;
    const { left, top } = bounds(object.shape);
    const [x, y] = toScreen(view, [left, top]);
    context.font = `600 11px ${this.look.font}`;
    context.textBaseline = 'top';
    const width = this.widthOf(context, text);
    const high = y >= 16 ? y - 16 : y + 1;
    if (places.some((each) => x < each.right && x + width > each.left && Math.abs(high - each.top) < 15)) return;
    places.push({ left: x, right: x + width, top: high });
    const colour = this.look.colourOf(object.category);
    context.fillStyle = colour;
    context.fillRect(x - 1, high, width, 15);
    context.fillStyle = this.look.textOn(colour);
    context.fillText(text, x + 2, high + 2);
  }

  private drawDraft(context: Context): void {
    const { draft, view, tool, pointer, brush, erases, category } = this.editor;
    const colour = category ? this.look.colourOf(category) : '#ffffff';
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 2;
    if (draft?.kind === 'shape') this.outline(context, draft.shape, 'faint');
    else if (draft?.kind === 'prompts') this.drawPrompts(context, draft, colour);
    else if (draft?.kind === 'edge') this.polyline(context, [draft.from, draft.to]);
    else if (draft?.kind === 'path') {
      this.polyline(context, draft.to ? [...draft.points, draft.closes ? (draft.points[0] as Point) : draft.to] : draft.points);
      for (const point of draft.points) {
        const [x, y] = toScreen(view, point);
        context.beginPath();
        context.arc(x, y, draft.closes && point === draft.points[0] ? 6 : 3, 0, 2 * Math.PI);
        context.fill();
      }
    } else if (draft?.kind === 'brush') {
      context.globalAlpha = 0.5;
      context.lineCap = context.lineJoin = 'round';
      context.lineWidth = 2 * draft.radius * view.scale;
      if (draft.value === 0) context.strokeStyle = '#ffffff';
      const [first] = draft.points;
      this.polyline(context, draft.points.length === 1 && first ? [first, first] : draft.points);
      context.globalAlpha = 1;
    }
    if (tool === 'mask' && pointer) {
      context.lineWidth = 1.5;
      context.strokeStyle = erases ? '#ffffff' : colour;
      context.setLineDash(erases ? [4, 3] : []);
      context.beginPath();
      context.arc(pointer[0], pointer[1], brush * view.scale, 0, 2 * Math.PI);
      context.stroke();
      context.setLineDash([]);
    }
  }

  private drawPrompts(context: Context, draft: Extract<Draft, { kind: 'prompts' }>, colour: string): void {
    const { view, frame } = this.editor;
    if (draft.mask) this.outline(context, { kind: 'mask', counts: draft.mask, size: frame }, 'strong');
    context.setLineDash([5, 3]);
    if (draft.drawn) this.outline(context, draft.drawn, 'none');
    else if (draft.prompts.box) this.outline(context, { kind: 'box', box: draft.prompts.box, degrees: 0 }, 'none');
    context.setLineDash([]);
    for (const { at, sign } of draft.prompts.points) {
      const [x, y] = toScreen(view, at);
      context.beginPath();
      context.arc(x, y, 7, 0, 2 * Math.PI);
      context.fillStyle = sign ? '#ffffff' : '#111214';
      context.fill();
      context.strokeStyle = sign ? '#111214' : '#ffffff';
      context.lineWidth = 1.5;
      context.stroke();
      // A plus or a minus, so that no colour says it alone.
      context.beginPath();
      context.moveTo(x - 3.5, y);
      context.lineTo(x + 3.5, y);
      if (sign) {
        context.moveTo(x, y - 3.5);
        context.lineTo(x, y + 3.5);
      }
      context.stroke();
    }
    context.strokeStyle = context.fillStyle = colour;
  }

  private polyline(context: Context, points: readonly Point[]): void {
    context.beginPath();
    points.forEach((point, at) => {
      const [x, y] = toScreen(this.editor.view, point);
      if (at === 0) context.moveTo(x, y);
      else context.lineTo(x, y);
    });
    context.stroke();
  }
}

function contextOf(canvas: HTMLCanvasElement): Context {
  const context = canvas.getContext('2d');
  if (!context) throw new Error('this browser draws on no canvas');
  return context;
}

