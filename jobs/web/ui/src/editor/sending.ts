// The outbox of the person who is signed in: one for all pages of a tab, which sends also what earlier tabs left.

import { Outbox, type Alone, type Answer, type Entry } from './outbox';
import { BrowserStore } from './outboxStore';
import { sendEntry } from './reviewApi';

const NAME = 'winnow-outbox';

const alone: Alone = (work) =>
  'locks' in navigator ? (navigator.locks.request(NAME, work) as ReturnType<typeof work>) : work();

let current: Outbox | null = null;
let leave = (): void => {};

export function outboxOf(user: string): Outbox {
  if (current?.user === user) return current;
  leave();
  current?.stop();
  const outbox = new Outbox(user, new BrowserStore(), sendEntry, alone);
  current = outbox;
  const channel = new BroadcastChannel(NAME);
  let heard = false;
  outbox.listen({
    onAcknowledged: (entry, answer) => {
      if (!heard) channel.postMessage({ entry, answer });
    },
  });
  channel.onmessage = (message: MessageEvent<{ entry: Entry; answer: Answer }>) => {
    if (message.data.entry.user !== user) return;
    heard = true;
    outbox.heard(message.data.entry, message.data.answer);
    heard = false;
  };
  const wake = (): void => outbox.wake();
  addEventListener('online', wake);
  leave = () => {
    removeEventListener('online', wake);
    channel.close();
  };
  void outbox.start();
  return outbox;
}
