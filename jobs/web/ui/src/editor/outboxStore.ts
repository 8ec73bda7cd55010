// Where the outbox is stored: an IndexedDB of the browser. A transaction that is complete is with the operating system, so
// that it survives a browser that is killed; the disk, which takes longer, has it a moment later, for the machine's sake.

import type { Entry, Store } from './outbox';

const [NAME, VERSION, EVENTS] = ['winnow-outbox', 1, 'events'];

/** After so long a pause, and after so long at most, what was stored is written through to the disk. */
const [PAUSE_MS, MOST_MS] = [150, 1000];

const done = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('the browser stores nothing'));
  });

const completion = (transaction: IDBTransaction): Promise<void> =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = transaction.onerror = () => reject(transaction.error ?? new Error('the browser stores nothing'));
  });

function open(): Promise<IDBDatabase> {
  const request = indexedDB.open(NAME, VERSION);
  request.onupgradeneeded = () => request.result.createObjectStore(EVENTS, { keyPath: 'event_id' });
  return done(request);
}

export class BrowserStore implements Store {
  private database: Promise<IDBDatabase> | null = null;

  private get opened(): Promise<IDBDatabase> {
    this.database ??= open().catch((error: unknown) => {
      this.database = null;
      throw error;
    });
    return this.database;
  }

  async load(user: string): Promise<Entry[]> {
    const store = (await this.opened).transaction(EVENTS, 'readonly').objectStore(EVENTS);
    const all = (await done(store.getAll())) as Entry[];
    return all.filter((each) => each.user === user);
  }

  async change(put: readonly Entry[], remove: readonly string[]): Promise<void> {
    const transaction = (await this.opened).transaction(EVENTS, 'readwrite', { durability: 'relaxed' });
    const store = transaction.objectStore(EVENTS);
    const completed = completion(transaction);
    try {
      for (const id of remove) store.delete(id);
      for (const each of put) store.put(each);
      // Does not wait for the page to hear of each request: a page that is busy, or killed now, has stored it all the same.
      transaction.commit();
    } catch (error) {
      // What cannot be copied: the requests before it are taken back, too.
      completed.catch(() => {});
      transaction.abort();
      throw error;
    }
    await completed;
    if (put.length > 0) this.writeThroughSoon();
  }

  private timer: ReturnType<typeof setTimeout> | undefined;
  private since: number | null = null;

  private writeThroughSoon(): void {
    const now = performance.now();
    this.since ??= now;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.since = null;
      // Nobody is left without what they did if this fails: it is stored, and is written by the system in its time.
      this.writeThrough().catch(() => {});
    }, Math.max(0, Math.min(PAUSE_MS, this.since + MOST_MS - now)));
  }

  /** Write an entry once more in a transaction that waits for the disk, which takes with it all that was written before. */
  private async writeThrough(): Promise<void> {
    const transaction = (await this.opened).transaction(EVENTS, 'readwrite', { durability: 'strict' });
    const request = transaction.objectStore(EVENTS).openCursor();
    request.onsuccess = () => request.result?.update(request.result.value);
    await completion(transaction);
  }
}
