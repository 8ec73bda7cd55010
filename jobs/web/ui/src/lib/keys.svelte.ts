// Keys: what is bound is what the `?` sheet lists, since both read the same table.

import { untrack } from 'svelte';

export interface Binding {
  /** A key as KeyboardEvent.key names it, with what is held as `Ctrl+z` or `Alt+Shift+ArrowUp` (a capital letter says
   * that of letters), or two after one another: `g o`. Several ways to say the same: an array. */
  keys: string | readonly string[];
  /** What it does, as the sheet says it. */
  what: string;
  run: (event: KeyboardEvent) => void;
  /** Whether it can be done now. */
  when?: () => boolean;
}

export interface Group {
  name: string;
  bindings: readonly Binding[];
}

type Pressed = Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey' | 'shiftKey' | 'defaultPrevented' | 'preventDefault'> & {
  target: EventTarget | null;
};

const SEQUENCE_MS = 1200;
const SHOWN: Record<string, string> = {
  ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓', Escape: 'Esc', ' ': 'Space', Enter: 'Enter',
};

/** Keys as they are written on a sheet. */
export function written(keys: Binding['keys']): string {
  const one = (text: string): string =>
    text === ' ' ? 'Space' : text.split(' ').map(held).join(' then ');
  // The last part may be a plus itself.
  const held = (keys: string): string => keys.replace(/[^+]+$/, (key) => SHOWN[key] ?? key);
  return (typeof keys === 'string' ? [keys] : keys).map(one).join(' or ');
}

/** What was pressed, with the keys that are held: Command is Ctrl. */
export function chord(event: Omit<Pressed, 'target' | 'defaultPrevented' | 'preventDefault'>): string {
  const held = `${event.ctrlKey || event.metaKey ? 'Ctrl+' : ''}${event.altKey ? 'Alt+' : ''}`;
  return `${held}${event.shiftKey && event.key.length > 1 ? 'Shift+' : ''}${event.key}`;
}

const ways = (binding: Binding): readonly string[] =>
  typeof binding.keys === 'string' ? [binding.keys] : binding.keys;

/** Whether a key typed there is text, and so no command. */
export function takesText(target: EventTarget | null): boolean {
  const node = target as { tagName?: string; type?: string; isContentEditable?: boolean } | null;
  if (!node?.tagName) return false;
  if (node.isContentEditable || node.tagName === 'TEXTAREA' || node.tagName === 'SELECT') return true;
  return node.tagName === 'INPUT' && !['checkbox', 'radio', 'button', 'submit', 'range'].includes(node.type ?? '');
}

const usesKey = (target: EventTarget | null, key: string): boolean => {
  const tag = (target as { tagName?: string } | null)?.tagName;
  return (key === 'Enter' || key === ' ') && (tag === 'BUTTON' || tag === 'A' || tag === 'SUMMARY');
};

export class Keys {
  groups = $state.raw<readonly Group[]>([]);
  private first = '';
  private firstAt = 0;

  /** Bind a group of keys until the returned function is called. Of two groups that bind a key, the later one has it. */
  bind(name: string, bindings: readonly Binding[]): () => void {
    const group = { name, bindings };
    // Effects bind keys; they do not depend on what else is bound.
    this.groups = [...untrack(() => this.groups), group];
    return () => {
      this.groups = this.groups.filter((each) => each !== group);
    };
  }

  press(event: Pressed, now: number): boolean {
    if (event.defaultPrevented) return false;
    const isHeld = event.ctrlKey || event.metaKey || event.altKey;
    if (takesText(event.target) && event.key !== 'Escape') return false;
    if (usesKey(event.target, event.key)) return false;
    const pair = this.first && !isHeld && now - this.firstAt <= SEQUENCE_MS ? `${this.first} ${event.key}` : '';
    this.first = '';
    const found = (pair && this.find(pair)) || this.find(chord(event)) || (isHeld ? undefined : this.find(event.key));
    if (found) {
      event.preventDefault();
      found.run(event as KeyboardEvent);
      return true;
    }
    // A key that a page has for itself begins no pair, also while there is nothing for it to do: the key after it would
    // leave the page.
    if (!isHeld && !this.isBound(event.key) && this.begins(event.key)) {
      this.first = event.key;
      this.firstAt = now;
    }
    return false;
  }

  private find(keys: string): Binding | undefined {
    for (const group of this.groups.toReversed()) {
      const found = group.bindings.find((each) => ways(each).includes(keys) && (each.when?.() ?? true));
      if (found) return found;
    }
    return undefined;
  }

  /** Whether one of its ways can be pressed: of two keys after one another, the first may be another command here. */
  isReachable(binding: Binding): boolean {
    return ways(binding).some((way) => {
      const [first = '', second = ''] = way.split(' ');
      return first === '' || second === '' || !this.isBound(first);
    });
  }

  private isBound(key: string): boolean {
    return this.groups.some((group) => group.bindings.some((each) => ways(each).includes(key)));
  }

  private begins(key: string): boolean {
    return this.groups.some((group) => group.bindings.some((each) => ways(each).some((way) => way.startsWith(`${key} `))));
  }
}

export const keys = new Keys();
