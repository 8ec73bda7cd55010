// One SVG element per shape, as CVAT draws.

import { colourOf, FRAME, STAGE, type Polygon, type View, type Way } from './scenes';

const SPACE = 'http://www.w3.org/2000/svg';
const make = (name: string): SVGElement => document.createElementNS(SPACE, name) as SVGElement;

export class Svg implements Way {
  name = 'svg';
  private group = make('g');
  private readonly shapes = new Map<string, SVGElement>();
  private view: View = { scale: 1, left: 0, top: 0 };

  constructor(private readonly stage: HTMLElement) {}

  open(scene: Polygon[], view: View): void {
    const svg = make('svg');
    svg.setAttribute('width', String(STAGE.width));
    svg.setAttribute('height', String(STAGE.height));
    const ground = make('rect');
    ground.setAttribute('width', String(FRAME.width));
    ground.setAttribute('height', String(FRAME.height));
    ground.setAttribute('fill', '#333');
    this.group.append(ground);
    for (const { id, category, ring } of scene) {
      const shape = make('polygon');
      shape.setAttribute('points', ring.join(' '));
      shape.setAttribute('vector-effect', 'non-scaling-stroke');
      shape.setAttribute('stroke-width', '1.5');
      shape.setAttribute('fill-opacity', '0.12');
      this.paint(shape, category);
      this.group.append(shape);
      this.shapes.set(id, shape);
    }
    svg.append(this.group);
    this.stage.append(svg);
    this.look(view);
  }

  private paint(shape: SVGElement, category: string): void {
    shape.setAttribute('stroke', colourOf(category));
    shape.setAttribute('fill', colourOf(category));
  }

  look(view: View): void {
    this.view = view;
    this.group.setAttribute('transform', `translate(${view.left} ${view.top}) scale(${view.scale})`);
  }

  rest(): void {}
  select(id: string): void {
    this.shapes.get(id)?.setAttribute('stroke', '#ffffff');
  }
  drag(id: string, dx: number, dy: number): void {
    this.shapes.get(id)?.setAttribute('transform', `translate(${dx / this.view.scale} ${dy / this.view.scale})`);
  }
  drop(): void {}
  relabel(id: string, category: string): void {
    const shape = this.shapes.get(id);
    if (shape) this.paint(shape, category);
  }
  flush(): void {}
  close(): void {
    this.stage.replaceChildren();
  }
}
