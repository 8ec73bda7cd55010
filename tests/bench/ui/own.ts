// The editor of the pages.

import { Editor } from '@pages/editor/editor';
import { Painter } from '@pages/editor/painter';
import type { ReviewFrame, ReviewObject } from '@pages/editor/wire';
import { colourOf, FRAME, STAGE, type Polygon, type View, type Way } from './scenes';

const objectOf = ({ id, category, ring }: Polygon): ReviewObject => ({
  object_id: id, category, polygons: [ring], bbox: [0, 0, 1, 1], rotation: 0, rle: null, track_id: null, keyframe: null, text: null,
  score: 0.5, source: 'bench', model: 'bench', origin: 'model', author: null, checked_by: null, revision: 0,
});

export class Own implements Way {
  name = 'winnow';
  private readonly editor: Editor;
  private readonly painter: Painter;
  private readonly layers: HTMLCanvasElement[];
  private pointer = 0;

  constructor(private readonly stage: HTMLElement) {
    this.layers = ['image', 'still', 'active'].map(() => {
      const canvas = document.createElement('canvas');
      Object.assign(canvas.style, { position: 'absolute', inset: '0', width: '100%', height: '100%', transformOrigin: '0 0' });
      stage.append(canvas);
      return canvas;
    });
    const [image, still, active] = this.layers as [HTMLCanvasElement, HTMLCanvasElement, HTMLCanvasElement];
    const nothing = (): void => {};
    this.editor = new Editor({
      onEdit: nothing, onSelection: nothing, onTool: nothing, onNotice: nothing, onPrompts: nothing,
      onView: () => this.painter?.moved(),
      onObjects: (shapes) => this.painter?.objectsChanged(shapes),
      onActive: () => this.painter?.activeChanged(),
    });
    this.painter = new Painter(this.editor, { image, still, active }, {
      colourOf, labelOf: (object) => object.category, textOn: () => '#111214', accent: '#86b4ff', font: 'sans-serif',
    });
    const picture = document.createElement('canvas');
    [picture.width, picture.height] = [FRAME.width, FRAME.height];
    const context = picture.getContext('2d');
    if (context) for (let n = 0; n < 64; n += 1) { context.fillStyle = `hsl(${n * 37} 20% ${20 + (n % 7) * 8}%)`; context.fillRect((n % 8) * 240, Math.floor(n / 8) * 135, 240, 135); }
    this.painter.resize(STAGE, STAGE);
    this.painter.show(picture);
  }

  open(scene: Polygon[], view: View): void {
    this.editor.open({ ...FRAME, objects: scene.map(objectOf), deleted: [], suggestions: [], tags: [] } as unknown as ReviewFrame, 'bench');
    this.look(view);
    this.rest();
  }

  look = (view: View): void => this.editor.look(view);
  rest = (): void => this.painter.finishNow();
  select = (id: string): void => this.editor.select([id]);

  private at = (x: number, y: number) => ({ id: 1, at: [x, y] as const, type: 'mouse' as const, button: 0, shift: false, alt: false });

  drag(id: string, dx: number, dy: number): void {
    const shape = this.editor.edits?.scene.get(id)?.shape;
    if (shape?.kind !== 'polygon') return;
    const { scale, left, top } = this.editor.view;
    const [ring] = shape.rings as [number[]];
    const n = ring.length / 2;
    const x = left + (ring.reduce((sum, value, at) => sum + (at % 2 ? 0 : value), 0) / n) * scale;
    const y = top + (ring.reduce((sum, value, at) => sum + (at % 2 ? value : 0), 0) / n) * scale;
    if (!this.pointer) {
      this.editor.select([id]);
      this.editor.down(this.at(x, y));
      this.pointer = 1;
    }
    this.editor.move(this.at(x + dx, y + dy));
    this.dragged = [x + dx, y + dy];
  }

  private dragged: [number, number] = [0, 0];

  drop(): void {
    this.editor.up(this.at(...this.dragged));
    this.pointer = 0;
  }

  relabel(id: string, category: string): void {
    this.editor.edit([{ op: 'set', object_id: id, category }]);
  }

  flush(): void {
    for (const canvas of this.stage.querySelectorAll('canvas')) canvas.getContext('2d')?.getImageData(0, 0, 1, 1);
  }

  close(): void {
    this.painter.stop();
    this.stage.replaceChildren();
  }
}
