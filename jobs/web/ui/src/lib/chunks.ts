// Rows of a long answer, asked for in chunks as they come into view, with the order that the first answer fixed.

import { Problem } from './api';

export interface Chunk<T> {
  snapshot: string;
  total: number;
  rows: T[];
}

type Fetch<T> = (start: number, limit: number, snapshot: string | null, signal: AbortSignal) => Promise<Chunk<T>>;

/** Holds the chunks that were seen last, at most `keep` of them, so that memory does not grow with scrolling. */
export class Chunks<T> {
  total: number | null = null;
  snapshot: string | null = null;
  private readonly known = new Map<number, T[]>();
  private readonly asked = new Map<number, AbortController>();
  private readonly stale = new Set<number>();
  private generation = 0;
  private failed = false;

  constructor(
    private readonly fetch: Fetch<T>,
    private readonly onChange: () => void,
    private readonly onProblem: (error: unknown) => void,
    readonly size = 200,
    private readonly keep = 40,
  ) {}

  at(index: number): T | undefined {
    const number = Math.floor(index / this.size);
    const rows = this.known.get(number);
    if (!rows) return undefined;
    // Seen just now, and so the last to be forgotten.
    this.known.delete(number);
    this.known.set(number, rows);
    return rows[index % this.size];
  }

  /** Ask for what is missing of an interval of rows; what was asked for and is out of view is not awaited any more. */
  want(from: number, to: number): void {
    if (this.failed) return;
    const first = Math.floor(Math.max(0, from) / this.size);
    const end = this.total === null ? first * this.size + 1 : Math.min(to, this.total);
    const last = Math.floor(Math.max(0, end - 1) / this.size);
    for (const [number, controller] of this.asked) {
      if ((number < first || number > last) && this.snapshot !== null) {
        controller.abort();
        this.asked.delete(number);
      }
    }
    // Until the first answer fixes an order, nothing else can be asked for.
    if (this.snapshot === null && this.asked.size > 0) return;
    for (let number = first; number <= last; number += 1) {
      if ((!this.known.has(number) || this.stale.has(number)) && !this.asked.has(number)) void this.ask(number);
      if (this.snapshot === null) return;
    }
  }

  /** Ask again for what is shown, in the order that it has: old rows stay until the new ones are there. */
  renew(): void {
    for (const number of this.known.keys()) this.stale.add(number);
    this.onChange();
  }

  retry(): void {
    this.failed = false;
    this.onChange();
  }

  stop(): void {
    this.generation += 1;
    for (const controller of this.asked.values()) controller.abort();
    this.asked.clear();
  }

  private async ask(number: number): Promise<void> {
    const controller = new AbortController();
    const generation = this.generation;
    this.asked.set(number, controller);
    try {
      const chunk = await this.fetch(number * this.size, this.size, this.snapshot, controller.signal);
      if (generation !== this.generation || controller.signal.aborted) return;
      this.snapshot = chunk.snapshot;
      this.total = chunk.total;
      this.known.set(number, chunk.rows);
      this.stale.delete(number);
      for (const oldest of this.known.keys()) {
        if (this.known.size <= this.keep) break;
        this.known.delete(oldest);
      }
    } catch (error) {
      if (generation !== this.generation || controller.signal.aborted) return;
      if (error instanceof Problem && error.status === 410 && this.snapshot !== null) {
        // The server no longer has this order: begin with the one it has now.
        this.stop();
        this.known.clear();
        this.snapshot = null;
        this.total = null;
      } else {
        // Not asked for again by itself, which would be many times a second.
        this.failed = true;
        this.onProblem(error);
      }
    } finally {
      if (this.asked.get(number) === controller) this.asked.delete(number);
    }
    this.onChange();
  }
}
