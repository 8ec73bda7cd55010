// Where the outbox is stored: an IndexedDB of the browser, whose transactions are on the disk when they are complete.

import type { Entry, Store } from './outbox';

const [NAME, VERSION, EVENTS] = ['winnow-outbox', 1, 'events'];

const done = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('the browser stores nothing'));
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
    const transaction = (await this.opened).transaction(EVENTS, 'readwrite', { durability: 'strict' });
    const store = transaction.objectStore(EVENTS);
    try {
      for (const id of remove) store.delete(id);
      for (const each of put) store.put(each);
    } catch (error) {
      // What cannot be copied: the requests before it are taken back, too.
      transaction.abort();
      throw error;
    }
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = transaction.onerror = () => reject(transaction.error ?? new Error('the browser stores nothing'));
    });
  }
}
