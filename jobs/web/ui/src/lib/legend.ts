// The colours of values on the map: those that reasons and verdicts have everywhere, and one of nine for others.

import { lookOf } from './reasons';

/** The name of the colour of a value, among the tokens. */
export function hueOfValue(column: string, value: string, code: number): string {
  if (column === 'keep') return value === 'true' ? 'kept' : 'dropped';
  if (column === 'reasons') return `hue-${lookOf(value).hue}`;
  return `hue-${1 + (code % 9)}`;
}
