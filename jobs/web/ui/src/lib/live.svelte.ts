// Events of the server: one stream for all tabs of a browser, since a browser opens six connections to a host at most.
// The tab that holds the lock listens to the server, and passes on what it hears.

import { ROOT } from './api';

export interface LiveEvent {
  kind: 'hello' | 'job' | 'job_cleared' | 'tables' | 'upload' | 'reset';
  data: Record<string, unknown>;
}

export type Connection = 'connecting' | 'open' | 'lost';

type Message = { event: LiveEvent } | { connection: Connection } | { who: true };

const CHANNEL = 'winnow-events';
const KINDS = ['hello', 'job', 'job_cleared', 'tables', 'upload', 'reset'] as const;
const PAUSES_MS = [1000, 2000, 5000, 10000, 30000];

/** What an event of the stream says; null for one that cannot be read. */
export function heard(kind: LiveEvent['kind'], text: string): LiveEvent | null {
  try {
    const data: unknown = text ? JSON.parse(text) : {};
    return typeof data === 'object' && data !== null ? { kind, data: data as Record<string, unknown> } : null;
  } catch {
    return null;
  }
}

class Live {
  connection = $state<Connection>('connecting');
  /** The server is of another build than these pages are. */
  outdated = $state(false);
  private build = '';
  /** Another tab has listened for this one. */
  private followed = false;
  private channel: BroadcastChannel | null = null;
  private source: EventSource | null = null;
  private readonly listeners = new Set<(event: LiveEvent) => void>();
  private stopped: AbortController | null = null;

  /** Listen, as the pages of a build. */
  start(build: string): void {
    if (this.stopped) return;
    this.build = build;
    const stopped = new AbortController();
    this.stopped = stopped;
    this.connection = 'connecting';
    // Without locks, as over plain HTTP from another machine, each tab listens for itself.
    if (!('locks' in navigator)) {
      this.listen(stopped.signal, 0);
      return;
    }
    this.channel = new BroadcastChannel(CHANNEL);
    this.channel.onmessage = (message: MessageEvent<Message>) => {
      if ('event' in message.data) this.take(message.data.event);
      else if ('connection' in message.data) {
        this.connection = message.data.connection;
        this.followed = true;
      }
      else if (this.source) this.say({ connection: this.connection });
    };
    this.say({ who: true });
    const lead = (): Promise<void> => {
      this.listen(stopped.signal, 0);
      return new Promise((resolve) => stopped.signal.addEventListener('abort', () => resolve()));
    };
    navigator.locks.request(CHANNEL, { signal: stopped.signal }, lead).catch(() => {
      // The tab stopped before it became the one that listens.
    });
  }

  stop(): void {
    this.stopped?.abort();
    this.stopped = null;
    this.source?.close();
    this.source = null;
    this.channel?.close();
    this.channel = null;
  }

  /** Call back for each event, until the returned function is called. */
  on(callback: (event: LiveEvent) => void): () => void {
    this.listeners.add(callback);
    return () => this.listeners.delete(callback);
  }

  private say(message: Message): void {
    this.channel?.postMessage(message);
  }

  private take(event: LiveEvent): void {
    if (event.kind === 'hello' && this.build && event.data.build !== this.build) this.outdated = true;
    for (const callback of this.listeners) callback(event);
  }

  private listen(signal: AbortSignal, tries: number): void {
    if (signal.aborted) return;
    const source = new EventSource(`${ROOT}events`);
    this.source = source;
    // Between the end of the tab that listened and now nobody did.
    let lost = tries > 0 || this.followed;
    let failed = tries;
    source.onopen = () => {
      failed = 0;
      this.become('open');
      // What happened in between was not heard.
      if (lost) this.pass({ kind: 'reset', data: {} });
      lost = false;
    };
    for (const kind of KINDS) {
      source.addEventListener(kind, (message) => {
        const event = heard(kind, (message as MessageEvent<string>).data);
        if (event) this.pass(event);
      });
    }
    source.onerror = () => {
      this.become('lost');
      // The browser itself connects again, with the last id, unless the answer was no stream.
      if (source.readyState !== EventSource.CLOSED) return;
      const pause = PAUSES_MS[Math.min(failed, PAUSES_MS.length - 1)] ?? 30000;
      setTimeout(() => this.listen(signal, failed + 1), pause);
    };
    signal.addEventListener('abort', () => source.close());
  }

  private pass(event: LiveEvent): void {
    this.say({ event });
    this.take(event);
  }

  private become(connection: Connection): void {
    this.connection = connection;
    this.say({ connection });
  }
}

export const live = new Live();
