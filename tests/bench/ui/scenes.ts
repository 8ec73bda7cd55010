// The same shapes for all: polygons of a number of corners on a frame of 1080p, by a generator with a seed.

export interface Polygon {
  id: string;
  category: string;
  ring: number[];
}

export const FRAME = { width: 1920, height: 1080 };
export const STAGE = { width: 1280, height: 800 };
export const COLOURS = ['#e58aa9', '#d9a273', '#ae96ee', '#9db4c8', '#dcbc55'];

export function polygons(count: number, corners: number): Polygon[] {
  let state = 1234567;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Array.from({ length: count }, (_, n) => {
    const radius = 8 + random() * 32;
    const [x, y] = [radius + random() * (FRAME.width - 2 * radius), radius + random() * (FRAME.height - 2 * radius)];
    const ring = Array.from({ length: corners }, (_, at) => {
      const angle = (2 * Math.PI * at) / corners;
      const reach = radius * (0.7 + 0.3 * random());
      return [x + Math.cos(angle) * reach, y + Math.sin(angle) * reach];
    }).flat();
    return { id: `polygon-${n}`, category: `category-${n % COLOURS.length}`, ring };
  });
}

export const colourOf = (category: string): string => COLOURS[Number(category.split('-')[1])] ?? '#ffffff';

export interface View {
  scale: number;
  left: number;
  top: number;
}

/** A way to draw a scene. What a method does is on the screen when `drawn` resolves. */
export interface Way {
  name: string;
  open(scene: Polygon[], view: View): void;
  look(view: View): void;
  /** The view rests: all is drawn as it is to be seen. */
  rest(): void;
  select(id: string): void;
  drag(id: string, dx: number, dy: number): void;
  drop(id: string): void;
  relabel(id: string, category: string): void;
  /** Have what was drawn rasterised now, where the way can. */
  flush(): void;
  close(): void;
}
