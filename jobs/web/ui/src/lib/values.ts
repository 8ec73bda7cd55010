// Values of tables with their units, as people read them.

import { value as asText, when } from './format';

export interface About {
  unit: string;
  doc: string;
}
export type Columns = Record<string, Record<string, About>>;

const NS_PER_MS = 1_000_000n;

/** A value with its unit: times as times, sizes of files in KiB and MiB. */
export function shownWithUnit(value: unknown, unit: string): { text: string; unit: string } {
  if (value === null || value === undefined) return { text: asText(value), unit: '' };
  if (unit === 'ns since 1970' && /^-?\d+$/.test(String(value))) {
    return { text: when(new Date(Number(BigInt(String(value)) / NS_PER_MS)).toISOString()), unit: '' };
  }
  if (unit === 'ns' && Number.isFinite(Number(value))) return { text: asText(Number(value) / 1e9), unit: 's' };
  if (unit === 'bytes' && typeof value === 'number' && value >= 1024) {
    return value < 1024 ** 2 ? { text: (value / 1024).toFixed(1), unit: 'KiB' } : { text: (value / 1024 ** 2).toFixed(1), unit: 'MiB' };
  }
  return { text: asText(value), unit };
}
