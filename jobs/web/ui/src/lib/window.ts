// Which rows of a long list are to be in the document, and how far the list is scrolled.

/** Browsers stop to lay out beyond some 16 to 33 million pixels; a longer list scrolls by proportion. */
export const MOST_PX = 8_000_000;

/** Maps the position of a scroll bar to that in a list which may be longer than any element can be. */
export class Track {
  constructor(
    readonly length: number,
    readonly view: number,
    readonly most = MOST_PX,
  ) {}

  /** The height of the element that is scrolled. */
  get height(): number {
    return Math.max(Math.min(this.length, this.most), this.view);
  }

  private get range(): number {
    return Math.max(0, this.length - this.view);
  }

  private get barRange(): number {
    return Math.max(0, this.height - this.view);
  }

  /** Whether the bar moves less than the list does. */
  get isScaled(): boolean {
    return this.length > this.most;
  }

  /** The top of the list for a position of the bar. */
  topOf(bar: number): number {
    if (!this.isScaled) return clamp(bar, 0, this.range);
    return this.barRange ? clamp((bar / this.barRange) * this.range, 0, this.range) : 0;
  }

  /** The position of the bar for a top of the list. */
  barOf(top: number): number {
    if (!this.isScaled) return clamp(top, 0, this.range);
    return this.range ? clamp((top / this.range) * this.barRange, 0, this.barRange) : 0;
  }
}

export const clamp = (value: number, least: number, most: number): number => Math.min(Math.max(value, least), most);

/** How a grid is laid out: as many columns as fit, each as wide as the others. */
export interface Grid {
  columns: number;
  cellWidth: number;
  rowHeight: number;
  rows: number;
}

export function grid(width: number, total: number, least: number, gap: number, caption: number, ratio: number): Grid {
  const columns = Math.max(1, Math.floor((width + gap) / (least + gap)));
  const cellWidth = Math.max(1, Math.floor((width - gap * (columns - 1)) / columns));
  const rowHeight = Math.round(cellWidth / ratio) + caption + gap;
  return { columns, cellWidth, rowHeight, rows: Math.ceil(total / columns) };
}

/** The first and the last row (exclusive) to draw: always as many, so that elements are used again. */
export function rowsShown(top: number, view: number, rowHeight: number, rows: number, over = 1): [number, number] {
  const drawn = Math.min(rows, Math.ceil(view / rowHeight) + 1 + 2 * over);
  const first = clamp(Math.floor(top / rowHeight) - over, 0, Math.max(0, rows - drawn));
  return [first, first + drawn];
}
