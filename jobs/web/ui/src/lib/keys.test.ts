import { expect, test, vi } from 'vitest';
import { Keys, takesText, written } from './keys.svelte';

function pressed(key: string, more: Record<string, unknown> = {}) {
  return {
    key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, defaultPrevented: false, target: null,
    preventDefault: vi.fn(), ...more,
  };
}

test('two keys after one another do what neither does alone, and only soon after', () => {
  const keys = new Keys();
  const run = vi.fn();
  keys.bind('Go to', [{ keys: 'g o', what: 'Overview', run }]);
  expect(keys.press(pressed('o'), 0)).toBe(false);
  expect(keys.press(pressed('g'), 10)).toBe(false);
  expect(keys.press(pressed('o'), 2000)).toBe(false);
  expect(run).not.toHaveBeenCalled();
  keys.press(pressed('g'), 3000);
  expect(keys.press(pressed('o'), 3100)).toBe(true);
  expect(run).toHaveBeenCalledTimes(1);
});

test('a key that a page has for itself begins no pair, also while it has nothing to do', () => {
  const keys = new Keys();
  const [leave, accept, hide] = [vi.fn(), vi.fn(), vi.fn()];
  const pair = { keys: 'g u', what: 'Uploads', run: leave };
  keys.bind('Go to', [pair]);
  expect(keys.isReachable(pair)).toBe(true);
  const unbind = keys.bind('Editor', [
    { keys: 'g', what: 'Accept', run: accept, when: () => false },
    { keys: 'u', what: 'Suggestions', run: hide },
  ]);
  expect(keys.isReachable(pair)).toBe(false);
  expect(keys.press(pressed('g'), 0)).toBe(false);
  expect(keys.press(pressed('u'), 10)).toBe(true);
  expect([leave.mock.calls.length, accept.mock.calls.length, hide.mock.calls.length]).toEqual([0, 0, 1]);
  unbind();
  keys.press(pressed('g'), 20);
  expect(keys.press(pressed('u'), 30)).toBe(true);
  expect(leave).toHaveBeenCalledTimes(1);
});

test('what is typed into a field is text, but Escape still leaves it', () => {
  const keys = new Keys();
  const [letter, leave] = [vi.fn(), vi.fn()];
  keys.bind('Everywhere', [{ keys: 'b', what: 'Boxes', run: letter }, { keys: 'Escape', what: 'Leave', run: leave }]);
  const field = { tagName: 'INPUT', type: 'search' };
  keys.press(pressed('b', { target: field }), 0);
  keys.press(pressed('Escape', { target: field }), 1);
  expect([letter.mock.calls.length, leave.mock.calls.length]).toEqual([0, 1]);
  expect(takesText({ tagName: 'INPUT', type: 'checkbox' } as unknown as EventTarget)).toBe(false);
});

test('the later of two groups has a key, and gives it back', () => {
  const keys = new Keys();
  const [page, panel] = [vi.fn(), vi.fn()];
  keys.bind('Page', [{ keys: 'Escape', what: 'Leave', run: page }]);
  const unbind = keys.bind('Panel', [{ keys: 'Escape', what: 'Close', run: panel }]);
  keys.press(pressed('Escape'), 0);
  unbind();
  keys.press(pressed('Escape'), 1);
  expect([page.mock.calls.length, panel.mock.calls.length]).toEqual([1, 1]);
  expect(keys.groups.map((group) => group.name)).toEqual(['Page']);
});

test('keys with Ctrl belong to the browser, and a binding that cannot be done now is passed over', () => {
  const keys = new Keys();
  const run = vi.fn();
  keys.bind('Page', [{ keys: ['j', 'ArrowDown'], what: 'Next', run, when: () => false }]);
  expect(keys.press(pressed('j', { ctrlKey: true }), 0)).toBe(false);
  expect(keys.press(pressed('j'), 0)).toBe(false);
  expect(run).not.toHaveBeenCalled();
});

test('keys are written as people know them', () => {
  expect([written('g o'), written(['j', 'ArrowDown']), written('Escape'), written(' ')]).toEqual(
    ['g then o', 'j or ↓', 'Esc', 'Space'],
  );
});

test('what is held with a key is part of it, and of no other', () => {
  const keys = new Keys();
  const [undo, plain, nudge] = [vi.fn(), vi.fn(), vi.fn()];
  keys.bind('Editor', [
    { keys: 'Ctrl+z', what: 'Undo', run: undo },
    { keys: 'z', what: 'Zoom', run: plain },
    { keys: 'Alt+Shift+ArrowUp', what: 'Nudge', run: nudge },
    { keys: 'ArrowUp', what: 'Up', run: plain },
  ]);
  keys.press(pressed('z', { metaKey: true }), 0);
  keys.press(pressed('ArrowUp', { altKey: true, shiftKey: true }), 0);
  expect([undo.mock.calls.length, nudge.mock.calls.length, plain.mock.calls.length]).toEqual([1, 1, 0]);
  expect(keys.press(pressed('y', { ctrlKey: true }), 0)).toBe(false);
  expect(keys.press(pressed('ArrowUp', { shiftKey: true }), 0)).toBe(true);
  expect(keys.press(pressed('ArrowUp', { altKey: true }), 0)).toBe(false);
  expect(written(['Alt+Shift+ArrowUp', '+'])).toBe('Alt+Shift+↑ or +');
});
