// Requests to the server. An answer that is no success becomes a Problem, with the lines that the command line prints.

import type { FrameName } from './types';

export const ROOT = '/api/v1/';

/** What went wrong: lines to show as they are. `status` is 0 where no answer came. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly lines: readonly string[],
    readonly retryAfter: number | null = null,
    /** Everything that the answer says, some of which is of one route alone. */
    readonly about: Readonly<Record<string, unknown>> = {},
  ) {
    super(lines[0] ?? title);
    this.name = 'Problem';
  }
}

type Parameter = string | number | boolean | null | undefined;
/** Parameters of a request; several values of one are repeated. */
export type Query = Record<string, Parameter | readonly string[]>;

/** The address of a route: empty parameters are left out. */
export function address(path: string, query: Query = {}): string {
  const given = Object.entries(query).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value])
      .filter((each) => each !== undefined && each !== null && each !== '')
      .map((each) => [name, String(each)]),
  );
  const text = new URLSearchParams(given).toString();
  return ROOT + path + (text ? `?${text}` : '');
}

/** The first part of the routes of a project. */
export const of = (project: string): string => `projects/${encodeURIComponent(project)}/`;

export function problemOf(status: number, body: unknown, retryAfter: string | null = null): Problem {
  const about = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const title = typeof about.title === 'string' ? about.title : `the server answered ${status}`;
  const lines = Array.isArray(about.lines) ? about.lines.filter((line) => typeof line === 'string') : [];
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter);
  return new Problem(status, title, lines.length > 0 ? lines : [title], Number.isFinite(seconds) ? seconds : null, about);
}

type OnSignedOut = () => void;
let onSignedOut: OnSignedOut = () => {};
/** Called where the server no longer knows who asks. */
export const whenSignedOut = (callback: OnSignedOut): void => {
  onSignedOut = callback;
};

let signIns = 0;
/** Say that somebody has signed in: what was asked before is answered to nobody, and says nothing of them. */
export const beginSession = (): void => {
  signIns += 1;
};

interface Options {
  query?: Query;
  /** What is sent: as JSON, but a file as it is. */
  body?: unknown;
  signal?: AbortSignal;
  /** An answer of 401 is part of what is asked, as at sign-in. */
  signingIn?: boolean;
}

async function request<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const { query, body, signal, signingIn = false } = options;
  const init: RequestInit = { method, headers: { accept: 'application/json' }, credentials: 'same-origin' };
  if (signal) init.signal = signal;
  if (body instanceof Blob) {
    init.body = body;
    init.headers = { ...init.headers, 'content-type': body.type || 'application/octet-stream' };
  } else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...init.headers, 'content-type': 'application/json' };
  }
  const before = signIns;
  let answer: Response;
  try {
    answer = await fetch(address(path, query), init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, 'no answer', ['the server does not answer; is `winnow serve` running?']);
  }
  const text = await answer.text();
  if (answer.ok) return (text ? JSON.parse(text) : undefined) as T;
  let about: unknown = null;
  try {
    about = JSON.parse(text);
  } catch {
    // A proxy in between answers in its own words, which say less than the status.
  }
  if (answer.status === 401 && !signingIn && before === signIns) onSignedOut();
  throw problemOf(answer.status, about, answer.headers.get('retry-after'));
}

export const get = <T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> =>
  request<T>('GET', path, { ...(query && { query }), ...(signal && { signal }) });
export const post = <T>(path: string, body?: unknown, signingIn = false): Promise<T> =>
  request<T>('POST', path, { body, signingIn });
export const postBlob = <T>(path: string, body: Blob): Promise<T> => request<T>('POST', path, { body });
export const put = <T>(path: string, body: unknown): Promise<T> => request<T>('PUT', path, { body });
export const patch = <T>(path: string, body: unknown): Promise<T> => request<T>('PATCH', path, { body });
export const remove = <T = void>(path: string): Promise<T> => request<T>('DELETE', path);

/** An object and the bytes after it, as the map of frames is sent: its length, the object, columns. */
export async function getBinary<T>(path: string, query: Query, signal: AbortSignal): Promise<{ head: T; bytes: ArrayBuffer; at: number }> {
  let answer: Response;
  try {
    answer = await fetch(address(path, query), { credentials: 'same-origin', signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Problem(0, 'no answer', ['the server does not answer; is `winnow serve` running?']);
  }
  if (!answer.ok) {
    if (answer.status === 401) onSignedOut();
    throw problemOf(answer.status, await answer.json().catch(() => null), answer.headers.get('retry-after'));
  }
  const bytes = await answer.arrayBuffer();
  const length = new DataView(bytes).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length))) as T;
  return { head, bytes, at: 4 + length };
}

/** The lines to show of anything that was thrown. */
export function linesOf(error: unknown): readonly string[] {
  if (error instanceof Problem) return error.lines;
  return [error instanceof Error ? error.message : String(error)];
}

/** The address of a frame's image: with its hash it never changes. */
export function imageOf(
  project: string,
  frame: FrameName & { h?: string | null },
  w: 320 | 640 | 1280 | 'full',
): string {
  return address(`${of(project)}media/frame`, { stream: frame.stream_id, idx: frame.frame_idx, h: frame.h, w });
}
