// Numbers, times and lengths as they are written. Times are in the clock of the person who reads.

const NUMBER = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export const count = (value: number | null | undefined): string =>
  value === null || value === undefined ? '–' : NUMBER.format(value);

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** A share in percent; what is more than nothing never shows as nothing, and what is less than all never as all. */
export function share(part: number, whole: number): string {
  if (whole <= 0) return '–';
  const percent = (100 * part) / whole;
  if (part > 0 && percent < 0.1) return '< 0.1 %';
  if (part < whole && percent > 99.9) return '> 99.9 %';
  return `${percent.toFixed(percent < 10 && percent > 0 ? 1 : 0)} %`;
}

/** Four figures are enough to compare measures by. */
export function measure(value: number): string {
  if (Number.isInteger(value)) return Math.abs(value) < 1e15 ? NUMBER.format(value) : String(value);
  const size = Math.abs(value);
  return size >= 1e6 || size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 60) return `${Math.round(value)} s`;
  const minutes = Math.floor(value / 60);
  if (minutes < 60) return `${minutes} min ${String(Math.floor(value % 60)).padStart(2, '0')} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, '0')} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const two = (value: number): string => String(value).padStart(2, '0');

/** Date and time to the second: 2026-05-04 13:07:09. */
export function when(value: string | null | undefined): string {
  if (!value) return '–';
  const at = new Date(value);
  if (Number.isNaN(at.getTime())) return value;
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** How long ago something was, or how long it is until then. */
export function ago(value: string | null | undefined, now: number): string {
  if (!value) return 'never';
  const gap = (now - new Date(value).getTime()) / 1000;
  if (Number.isNaN(gap)) return value;
  const size = Math.abs(gap);
  const text =
    size < 60 ? 'a moment' : size < 3600 ? `${Math.floor(size / 60)} min`
    : size < 172800 ? `${Math.floor(size / 3600)} h` : `${Math.floor(size / 86400)} d`;
  return gap >= 0 ? `${text} ago` : `in ${text}`;
}

/** A value of a table, as one line. */
export function value(of: unknown): string {
  if (of === null || of === undefined) return '–';
  if (typeof of === 'number') return measure(of);
  if (typeof of === 'boolean') return of ? 'yes' : 'no';
  if (typeof of === 'string') return of;
  return JSON.stringify(of);
}
