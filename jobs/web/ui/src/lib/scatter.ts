// Points on a plane, drawn into the pixels of a canvas: a million of them in some milliseconds, without a GPU.

export interface Camera {
  /** The middle of what is in view, from 0 to 1 each way. */
  x: number;
  y: number;
  /** How many pixels the whole map is wide and high. */
  scale: number;
}

export interface Place {
  x: number;
  y: number;
}

export const NOWHERE = 65535;
export const SIDE = 65534;
export const UNKNOWN = 255;

/** The whole map in view, with some room around it. */
export const whole = (width: number, height: number): Camera => ({ x: 0.5, y: 0.5, scale: Math.max(1, Math.min(width, height) * 0.96) });

/** Pixels of a place on the map, and back. The map's y goes upwards. */
export const toScreen = (at: Place, camera: Camera, width: number, height: number): Place => ({
  x: width / 2 + (at.x - camera.x) * camera.scale,
  y: height / 2 - (at.y - camera.y) * camera.scale,
});
export const toMap = (at: Place, camera: Camera, width: number, height: number): Place => ({
  x: camera.x + (at.x - width / 2) / camera.scale,
  y: camera.y - (at.y - height / 2) / camera.scale,
});

/** Zoom by a factor around a pixel, which stays where it is. */
export function zoomed(camera: Camera, factor: number, at: Place, width: number, height: number): Camera {
  const scale = Math.min(4_000_000, Math.max(50, camera.scale * factor));
  const fixed = toMap(at, camera, width, height);
  return { scale, x: fixed.x - (at.x - width / 2) / scale, y: fixed.y + (at.y - height / 2) / scale };
}

/** How many pixels a point is wide: more where there are few in view. */
export function sizeOfPoint(n: number, scale: number, side: number): number {
  const shown = n * Math.min(1, (side / scale) ** 2);
  if (shown < 800) return 7;
  if (shown < 5_000) return 5;
  if (shown < 60_000) return 3;
  return shown < 300_000 ? 2 : 1;
}

/**
 * Draw points. `colours` has a packed pixel for each code; points that `chosen` has not are drawn first, in `dim`.
 * Returns how many points are in view.
 */
export function drawPoints(
  pixels: Uint32Array, width: number, height: number, camera: Camera, size: number,
  xs: Uint16Array, ys: Uint16Array, codes: Uint8Array | null, colours: Uint32Array, chosen: Uint8Array | null, dim: number,
): number {
  const k = camera.scale / SIDE;
  const left = width / 2 - camera.x * camera.scale;
  const top = height / 2 + camera.y * camera.scale;
  const before = (size - 1) >> 1;
  let n = 0;
  for (const pass of chosen ? [0, 1] : [1]) {
    for (let at = 0; at < xs.length; at += 1) {
      if (chosen && (chosen[at] ?? 0) !== pass) continue;
      const px = xs[at] ?? NOWHERE;
      if (px === NOWHERE) continue;
      const x = (left + px * k - before) | 0;
      const y = (top - (ys[at] ?? 0) * k - before) | 0;
      if (x < 0 || y < 0 || x + size > width || y + size > height) continue;
      n += pass;
      const colour = pass === 1 ? (colours[codes ? (codes[at] ?? UNKNOWN) : 0] ?? dim) : dim;
      for (let row = y * width + x, end = row + size * width; row < end; row += width) {
        for (let one = row; one < row + size; one += 1) pixels[one] = colour;
      }
    }
  }
  return n;
}

/** A colour as `rgb(r, g, b)` or `#rrggbb` says it, as a pixel in the order of this machine's bytes. */
export function pixelOf(colour: string): number {
  const numbers = colour.startsWith('#')
    ? [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16))
    : (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
  const [red = 0, green = 0, blue = 0] = numbers;
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** Colours from dark blue over green to yellow, as light as they are large: told apart without seeing hues. */
export function ramp(at: number): [number, number, number] {
  const stops: [number, number, number][] = [[68, 56, 132], [54, 104, 158], [40, 146, 140], [84, 184, 96], [228, 212, 60]];
  const place = Math.min(Math.max(at, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  const [from, to] = [stops[low], stops[low + 1]] as [[number, number, number], [number, number, number]];
  return [0, 1, 2].map((c) => Math.round((from[c] ?? 0) + ((to[c] ?? 0) - (from[c] ?? 0)) * (place - low))) as [number, number, number];
}

/** As few corners of a line as show its shape: those that are nearer than `px` to the last one are left out. */
export function simplified(line: readonly Place[], px = 4, most = 120): Place[] {
  const found: Place[] = [];
  for (const each of line) {
    const last = found.at(-1);
    if (!last || Math.hypot(each.x - last.x, each.y - last.y) >= px) found.push(each);
  }
  if (found.length <= most) return found;
  return Array.from({ length: most }, (_, at) => found[Math.floor((at * found.length) / most)] as Place);
}

/** A polygon as a filter says it: `layout:0.1,0.2;0.3,0.2;…`. */
export const areaOf = (by: string, corners: readonly Place[]): string =>
  `${by}:${corners.map((each) => [each.x, each.y].map((one) => String(Number(Math.min(1, Math.max(0, one)).toFixed(4)))).join(',')).join(';')}`;

export function cornersOf(area: string): { by: string; corners: Place[] } | null {
  const [by = '', places = ''] = [area.slice(0, area.indexOf(':')), area.slice(area.indexOf(':') + 1)];
  const corners = places.split(';').map((each) => {
    const [x = Number.NaN, y = Number.NaN] = each.split(',').map(Number);
    return { x, y };
  });
  return by && corners.length > 2 && corners.every((each) => Number.isFinite(each.x) && Number.isFinite(each.y)) ? { by, corners } : null;
}
