import { expect, test } from 'vitest';
import { Problem } from '../lib/api';
import { Outbox, type Answer, type Entry, type Store } from './outbox';
import { uuid7 } from './uuid7';
import type { Op, ReviewObject } from './wire';

/** What a browser stores, which outlives the outboxes that use it. */
class Disk implements Store {
  readonly stored = new Map<string, string>();
  load = async (user: string): Promise<Entry[]> =>
    [...this.stored.values()].map((each) => JSON.parse(each) as Entry).filter((each) => each.user === user);
  change = async (put: readonly Entry[], remove: readonly string[]): Promise<void> => {
    for (const id of remove) this.stored.delete(id);
    for (const each of put) this.stored.set(each.event_id, JSON.stringify(each));
  };
}

/** The rules of the server: an event once, objects that others changed since are refused, all others merge. */
class Server {
  readonly log: { event_id: string; revision: number; user: string; ops: Op[] }[] = [];
  readonly answers = new Map<string, string>();
  readonly values = new Map<string, { category: string; revision: number; user: string }>();
  problem: Problem | null = null;
  revision = 0;

  take(entry: Entry): Answer {
    if (this.problem) throw this.problem;
    const known = this.answers.get(entry.event_id);
    if (known) return JSON.parse(known) as Answer;
    const conflicts = entry.ops.flatMap((op, at) => {
      const value = 'object_id' in op ? this.values.get(op.object_id) : undefined;
      return value && value.revision > entry.base_revision && value.user !== entry.user
        ? [{ object_id: (op as { object_id: string }).object_id, op: at, theirs: THEIRS, by: value.user, at: null }] : [];
    });
    if (conflicts.length > 0) {
      throw new Problem(409, 'conflict', ['changed'], null, { revision: this.revision, state: 'open', conflicts });
    }
    this.revision += 1;
    for (const op of entry.ops) {
      if (op.op === 'set') this.values.set(op.object_id, { category: op.category ?? '', revision: this.revision, user: entry.user });
    }
    this.log.push({ event_id: entry.event_id, revision: this.revision, user: entry.user, ops: entry.ops });
    const answer: Answer = { revision: this.revision, state: 'open', changed: [], gone: [] };
    this.answers.set(entry.event_id, JSON.stringify(answer));
    return answer;
  }
}

const THEIRS = { object_id: 'x' } as ReviewObject;
const FRAME = { stream_id: 's', frame_idx: 1, h: 'h' };
const edit = (object_id: string, category: string, base_revision = 0) => ({
  project: 'p', frame: FRAME, kind: 'edit' as const, ops: [{ op: 'set' as const, object_id, category }],
  base_revision, note: null, ms: null,
});

test('events are stored first, and sent in order, each based on the one before', async () => {
  const [server, disk] = [new Server(), new Disk()];
  const seen: [string, number][] = [];
  const box = new Outbox('jane', disk, async (entry) => {
    expect(disk.stored.has(entry.event_id)).toBe(true);
    seen.push([(entry.ops[0] as { category: string }).category, entry.base_revision]);
    return server.take(entry);
  });
  await box.start();
  await Promise.all(['a', 'b', 'c'].map((category) => box.add(edit('x', category))));
  await box.settled();
  expect(seen).toEqual([['a', 0], ['b', 1], ['c', 2]]);
  expect(disk.stored.size).toBe(0);
  expect(server.values.get('x')?.category).toBe('c');
});

test('offline, then on again: all arrive in order, once, although an answer is lost', async () => {
  const [server, disk] = [new Server(), new Disk()];
  let mode: 'off' | 'cut' | 'on' = 'off';
  const send = async (entry: Entry): Promise<Answer> => {
    if (mode === 'off') throw new Problem(0, 'no answer', ['no answer']);
    const answer = server.take(entry);
    if (mode === 'cut') throw new Problem(0, 'no answer', ['cut']);
    return answer;
  };
  const box = new Outbox('jane', disk, send, undefined, [1e6]);
  await box.start();
  for (let n = 0; n < 100; n += 1) await box.add(edit('x', `${n}`));
  await box.settled();
  expect([box.waiting().length, box.reach, server.log.length]).toEqual([100, 'unreached', 0]);
  mode = 'cut';
  box.wake();
  await box.settled();
  expect(server.log.length).toBe(1);
  mode = 'on';
  // The browser was killed: another one has what was stored.
  box.stop();
  const later = new Outbox('jane', disk, send);
  await later.start();
  await later.settled();
  expect(server.log.map((each) => (each.ops[0] as { category: string }).category)).toEqual(Array.from({ length: 100 }, (_, n) => `${n}`));
  expect(server.log.map((each) => each.revision)).toEqual(Array.from({ length: 100 }, (_, n) => n + 1));
  expect(disk.stored.size).toBe(0);
});

/** A disk that stores, in order, when it is let go. */
class SlowDisk extends Disk {
  private readonly work: (() => void)[] = [];
  override change = (put: readonly Entry[], remove: readonly string[]): Promise<void> =>
    new Promise((resolve, reject) => this.work.push(() => {
      if (put.some((each) => each.note === 'too large')) return reject(new Error('the disk is full'));
      for (const id of remove) this.stored.delete(id);
      for (const each of put) this.stored.set(each.event_id, JSON.stringify(each));
      resolve();
    }));
  letGo(): void {
    for (const each of this.work.splice(0)) each();
  }
}

const unreached = async (): Promise<Answer> => {
  throw new Problem(0, 'no answer', ['no answer']);
};

test('what is done is handed to the disk at once, although the disk is not done with what was before', async () => {
  const disk = new SlowDisk();
  const box = new Outbox('jane', disk, unreached, undefined, [1e6]);
  await box.start();
  const added = Array.from({ length: 20 }, (_, n) => box.add(edit('x', `${n}`)));
  // The browser is killed: what the disk was handed is there.
  disk.letGo();
  const stored = (await disk.load('jane')).sort((one, other) => one.order - other.order);
  expect(stored.map((each) => (each.ops[0] as { category: string }).category)).toEqual(Array.from({ length: 20 }, (_, n) => `${n}`));
  await Promise.all(added);
  box.stop();
});

test('an event that cannot be stored says so, and those beside it are stored', async () => {
  const disk = new SlowDisk();
  const box = new Outbox('jane', disk, unreached, undefined, [1e6]);
  await box.start();
  const outcomes = Promise.allSettled(['fits', 'too large', 'fits'].map((note, n) => box.add({ ...edit('x', `${n}`), note })));
  disk.letGo();
  expect((await outcomes).map((each) => each.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect((await disk.load('jane')).length).toBe(2);
  box.stop();
});

test('a session that ended stops sending until somebody signs in, and nobody else sends their events', async () => {
  const [server, disk] = [new Server(), new Disk()];
  server.problem = new Problem(401, 'signed out', ['sign in']);
  const box = new Outbox('jane', disk, async (entry) => server.take(entry));
  await box.start();
  await box.add(edit('x', 'a'));
  await box.settled();
  expect(box.reach).toBe('signed-out');
  server.problem = null;
  const other = new Outbox('bob', disk, async (entry) => server.take(entry));
  await other.start();
  await other.settled();
  expect(server.log).toEqual([]);
  box.wake();
  await box.settled();
  expect(server.log.map((each) => each.user)).toEqual(['jane']);
});

test('the same object changed by two is decided once: mine under a new id, or theirs', async () => {
  const server = new Server();
  const [jane, bob] = ['jane', 'bob'].map((user) => new Outbox(user, new Disk(), async (entry) => server.take(entry))) as [Outbox, Outbox];
  await jane.start();
  await bob.start();
  await bob.add(edit('x', 'theirs'));
  await bob.settled();
  await jane.add({ ...edit('x', 'mine'), ops: [{ op: 'set', object_id: 'x', category: 'mine' }, { op: 'set', object_id: 'y', category: 'mine' }] });
  await jane.add(edit('z', 'after'));
  await jane.settled();
  const [held] = jane.stopped();
  expect(held?.stopped?.why).toBe('conflict');
  expect(server.values.get('z')).toBeUndefined();
  await jane.resolve(held as Entry, () => false);
  await jane.settled();
  expect(['x', 'y', 'z'].map((id) => server.values.get(id)?.category)).toEqual(['theirs', 'mine', 'after']);
  expect(new Set(server.log.map((each) => each.event_id)).has((held as Entry).event_id)).toBe(false);
});

test('what was done to a replaced image, or is refused, is kept until somebody decides; others are sent', async () => {
  const server = new Server();
  const disk = new Disk();
  const box = new Outbox('jane', disk, async (entry) => {
    const [op] = entry.ops as { category: string }[];
    if (op?.category === 'old') throw new Problem(410, 'gone', ['another image'], null, { h: 'new' });
    if (op?.category === 'bad') throw new Problem(422, 'refused', ['op 0: unknown category'], null, {});
    return server.take(entry);
  });
  await box.start();
  for (const category of ['old', 'bad', 'good']) await box.add(edit('x', category));
  await box.settled();
  expect(box.stopped().map((each) => each.stopped?.why)).toEqual(['replaced', 'refused']);
  expect(server.log.length).toBe(1);
  expect(disk.stored.size).toBe(2);
  await box.drop(box.stopped()[0] as Entry);
  expect(disk.stored.size).toBe(1);
});

test.each([1, 2, 3, 4, 5, 6, 7, 8])('three clients, losses, repetitions, killed browsers: a serial order, nothing lost or doubled (%d)', async (seed) => {
  let state = seed * 2654435761;
  const chance = (): number => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return state / 2 ** 32;
  };
  const server = new Server();
  const users = ['jane', 'bob', 'eve'];
  const disks = users.map(() => new Disk());
  const send = async (entry: Entry): Promise<Answer> => {
    await new Promise((resolve) => setTimeout(resolve, chance() * 2));
    if (chance() < 0.2) throw new Problem(0, 'no answer', ['lost on the way']);
    const answer = server.take(entry);
    if (chance() < 0.1) server.take(entry);
    if (chance() < 0.2) throw new Problem(0, 'no answer', ['the answer was lost']);
    return answer;
  };
  const made = new Set<string>();
  // The lock of a browser, which its tabs share.
  const locks: Promise<unknown>[] = users.map(() => Promise.resolve());
  const alone = (at: number) => <T>(work: () => Promise<T>): Promise<T> => {
    const next = (locks[at] as Promise<unknown>).catch(() => {}).then(work);
    locks[at] = next;
    return next;
  };
  const start = (at: number): Outbox => {
    const box = new Outbox(users[at] as string, disks[at] as Disk, send, alone(at), [1]);
    void box.start();
    return box;
  };
  const boxes = users.map((_, at) => start(at));
  for (let n = 0; n < 60; n += 1) {
    const at = Math.floor(chance() * 3);
    const name = `${users[at]}-${n}`;
    await boxes[at]?.add(edit(`o${Math.floor(chance() * 6)}`, name, Math.max(0, server.revision - Math.floor(chance() * 4))));
    made.add(name);
    if (chance() < 0.15) {
      boxes[at]?.stop();
      boxes[at] = start(at);
    }
  }
  // Stopped outboxes may still be in the middle of something, as another tab would.
  for (let round = 0; round < 400 && disks.some((disk) => disk.stored.size > 0); round += 1) {
    for (const box of boxes) {
      for (const held of box.stopped()) await box.resolve(held, () => true);
      box.wake();
      await box.settled();
    }
  }
  const names = server.log.map((each) => (each.ops[0] as { category: string }).category);
  expect(new Set(names)).toEqual(made);
  expect(names.length).toBe(made.size);
  expect(server.log.map((each) => each.revision)).toEqual(server.log.map((_, at) => at + 1));
  for (const user of users) {
    const mine = names.filter((each) => each.startsWith(user)).map((each) => Number(each.split('-')[1]));
    expect(mine).toEqual([...mine].sort((a, b) => a - b));
  }
});

test('ids sort by when they were made', () => {
  const ids = [uuid7(1_000_000), uuid7(1_000_000), uuid7(999_000), uuid7(1_000_001)];
  expect([...ids].sort()).toEqual(ids);
  expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test('frames do not wait for one another, and events of one frame do', async () => {
  const box = new Outbox('jane', new Disk(), (entry) => {
    begun.push(`${entry.frame.frame_idx} ${entry.ops.map((op) => ('category' in op ? op.category : '')).join()}`);
    return new Promise((resolve) => finish.set(entry.frame.frame_idx as number, () => resolve({ revision: 1, state: 'open', changed: [], gone: [] })));
  });
  const begun: string[] = [];
  const finish = new Map<number, () => void>();
  const until = async (n: number): Promise<void> => {
    while (begun.length < n) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  const on = (frame_idx: number, category: string): Promise<Entry> => box.add({ ...edit('o', category), frame: { ...FRAME, frame_idx } });
  await Promise.all([on(1, 'a'), on(1, 'b'), on(2, 'c'), on(3, 'd')]);
  await until(3);
  expect([...begun].sort()).toEqual(['1 a', '2 c', '3 d']);
  finish.get(1)?.();
  await until(4);
  expect(begun[3]).toBe('1 b');
  for (const n of [1, 2, 3]) finish.get(n)?.();
  await box.settled();
  expect(box.waiting()).toEqual([]);
});
