// Colours and keys of categories.

import { hueOf } from '../lib/overlay';
import type { Category } from './reviewApi';

/** Whether dark text is read better than light text over a colour as `rgb(…)` or `#rrggbb`. */
export function isLight(colour: string): boolean {
  const hex = /^#(..)(..)(..)$/.exec(colour);
  const parts = hex ? hex.slice(1).map((each) => Number.parseInt(each, 16)) : (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
  const [r = 0, g = 0, b = 0] = parts.map((each) => ((each / 255) ** 2.2));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18;
}

/** The colour of each category, one of the palette where it has none of its own. */
export function colourIn(categories: readonly Category[], palette: Readonly<Record<string, string>>): (category: string) => string {
  const own = new Map(categories.flatMap((each) => (each.colour ? [[each.category, each.colour] as const] : [])));
  return (category) => own.get(category) ?? palette[`over-${hueOf(category)}`] ?? '#9db4c8';
}

export const KEYS = [...'1234567890'];

/** Which digit chooses which category: its own, or else the first that is free, in the order of the list. */
export function keysOfCategories(categories: readonly Category[]): Map<string, string> {
  const live = categories.filter((each) => each.merged_into === null);
  const found = new Map<string, string>();
  for (const each of live) if (each.key && KEYS.includes(each.key) && !found.has(each.key)) found.set(each.key, each.category);
  const taken = new Set(found.values());
  const free = KEYS.filter((key) => !found.has(key));
  for (const each of live) {
    if (taken.has(each.category)) continue;
    const key = free.shift();
    if (key === undefined) break;
    found.set(key, each.category);
  }
  return found;
}
