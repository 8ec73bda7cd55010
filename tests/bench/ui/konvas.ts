// Konva, with what its guide to performance advises: no perfect drawing, no listening while the view moves, what is
// dragged on a layer of its own.

import Konva from 'konva';
import { colourOf, FRAME, STAGE, type Polygon, type View, type Way } from './scenes';

export class Konvas implements Way {
  name = 'konva';
  private stage: Konva.Stage | null = null;
  private readonly layer = new Konva.Layer();
  private readonly top = new Konva.Layer();
  private readonly shapes = new Map<string, Konva.Line>();
  private lifted: { id: string; x: number; y: number } | null = null;

  constructor(private readonly element: HTMLElement) {
    Konva.autoDrawEnabled = false;
  }

  open(scene: Polygon[], view: View): void {
    const inside = document.createElement('div');
    this.element.append(inside);
    this.stage = new Konva.Stage({ container: inside, ...STAGE });
    this.layer.add(new Konva.Rect({ ...FRAME, fill: '#333', listening: false }));
    for (const { id, category, ring } of scene) {
      const shape = new Konva.Line({
        points: ring, closed: true, stroke: colourOf(category), strokeWidth: 1.5, strokeScaleEnabled: false,
        perfectDrawEnabled: false, shadowForStrokeEnabled: false,
      });
      this.shapes.set(id, shape);
      this.layer.add(shape);
    }
    this.stage.add(this.layer, this.top);
    this.look(view);
  }

  look(view: View): void {
    this.stage?.scale({ x: view.scale, y: view.scale });
    this.stage?.position({ x: view.left, y: view.top });
    this.layer.draw();
    this.top.draw();
  }

  rest(): void {}

  select(id: string): void {
    const shape = this.shapes.get(id);
    shape?.stroke('#ffffff');
    shape?.moveTo(this.top);
    this.layer.draw();
    this.top.draw();
  }

  drag(id: string, dx: number, dy: number): void {
    const shape = this.shapes.get(id);
    if (!shape || !this.stage) return;
    if (this.lifted?.id !== id) {
      this.lifted = { id, x: shape.x(), y: shape.y() };
      shape.moveTo(this.top);
      this.layer.draw();
    }
    const scale = this.stage.scaleX();
    shape.position({ x: this.lifted.x + dx / scale, y: this.lifted.y + dy / scale });
    this.top.draw();
  }

  drop(id: string): void {
    this.shapes.get(id)?.moveTo(this.layer);
    this.lifted = null;
    this.layer.draw();
    this.top.draw();
  }

  relabel(id: string, category: string): void {
    this.shapes.get(id)?.stroke(colourOf(category));
    this.layer.draw();
  }

  flush(): void {
    for (const canvas of this.element.querySelectorAll('canvas')) canvas.getContext('2d')?.getImageData(0, 0, 1, 1);
  }

  close(): void {
    this.stage?.destroy();
    this.element.replaceChildren();
  }
}
