// What the editor can do, the keys that do it, and how a person changes them. The sheet of keys is made from this.

export interface Command {
  id: string;
  group: string;
  what: string;
  keys: readonly string[];
}

const command = (group: string, id: string, what: string, ...keys: string[]): Command => ({ group, id, what, keys });

export const COMMANDS: readonly Command[] = [
  command('Frame', 'submit', 'Submit (or approve) the frame, and the next one', 'Enter'),
  command('Frame', 'negative', 'Nothing here: a negative, and the next one', 'n'),
  command('Frame', 'skip', 'Skip: give it back, it comes last', 's'),
  command('Frame', 'return', 'Comment, or return it with a word', 'i'),
  command('Frame', 'previous', 'Frame before in its stream', 'ArrowLeft'),
  command('Frame', 'next', 'Frame after in its stream', 'ArrowRight'),
  command('Frame', 'leave', 'Back to the list', 'l'),
  command('Objects', 'accept', 'Accept the object, and the next one', 'a'),
  command('Objects', 'acceptAll', 'Accept all objects', 'A'),
  command('Objects', 'reject', 'Reject the object, and the next one', 'r'),
  command('Objects', 'nextObject', 'Next object, the least certain first', 'j'),
  command('Objects', 'previousObject', 'Object before', 'k'),
  command('Objects', 'delete', 'Delete the object, or the corner under the pointer', 'd', 'Delete'),
  command('Objects', 'category', 'Search a category', 'c'),
  command('Objects', 'suggestion', 'Accept the suggestion under the pointer', 'g'),
  command('Objects', 'suggestions', 'Suggestions on or off', 'u'),
  command('Objects', 'copy', 'Copy objects', 'Ctrl+c'),
  command('Objects', 'paste', 'Paste objects onto this frame', 'Ctrl+v'),
  command('Objects', 'propagate', 'Copy objects to the next frames', 'f'),
  command('Objects', 'follow', 'Follow objects over the next frames by a model', 'F'),
  command('Objects', 'undo', 'Undo, on any frame', 'Ctrl+z'),
  command('Objects', 'redo', 'Redo', 'Ctrl+y', 'Ctrl+Z'),
  command('Tools', 'select', 'Select', 'v'),
  command('Tools', 'box', 'Box', 'b'),
  command('Tools', 'turned', 'Turned box: draw an edge, then its height', 'o'),
  command('Tools', 'polygon', 'Polygon', 'p'),
  command('Tools', 'mask', 'Mask brush', 'm'),
  command('Tools', 'positive', 'Mask by a model: press on the object, or drag a box; Enter keeps it', 'q'),
  command('Tools', 'negative_point', 'Mask by a model: press what is not of the object', 'e'),
  command('Tools', 'track', 'Track: a keyframe here, interpolated in between', 't'),
  command('Tools', 'larger', 'Larger brush', '+'),
  command('Tools', 'smaller', 'Smaller brush', '-'),
  command('Tools', 'erase', 'Brush adds or erases', 'x'),
  command('Tools', 'boxHere', 'A box in the middle, without a pointer', 'B'),
  command('Tools', 'left', 'Move it to the left', 'Alt+ArrowLeft'),
  command('Tools', 'right', 'Move it to the right', 'Alt+ArrowRight'),
  command('Tools', 'up', 'Move it up', 'Alt+ArrowUp'),
  command('Tools', 'down', 'Move it down', 'Alt+ArrowDown'),
  command('Tools', 'narrower', 'Its right edge to the left', 'Alt+Shift+ArrowLeft'),
  command('Tools', 'wider', 'Its right edge to the right', 'Alt+Shift+ArrowRight'),
  command('Tools', 'flatter', 'Its lower edge up', 'Alt+Shift+ArrowUp'),
  command('Tools', 'taller', 'Its lower edge down', 'Alt+Shift+ArrowDown'),
  command('View', 'zoom', 'Zoom to the object, again: all of the frame', 'z'),
  command('View', 'zoomIn', 'Zoom in', '.'),
  command('View', 'zoomOut', 'Zoom out', ','),
  command('View', 'hide', 'Hide all shapes, while it is held', 'h'),
];

/** Keys of a person, by command; commands that are not in it have those of the table. */
export type Changes = Readonly<Record<string, readonly string[]>>;

/** Keys that stay as they are: those of categories, of leaving a field, of the sheet, and of pages. */
const FIXED = new Set([...'0123456789', 'Escape', '?', '/', ' ', 'Backspace']);

export function keysOf(changes: Changes): Map<string, readonly string[]> {
  return new Map(COMMANDS.map((each) => [each.id, changes[each.id] ?? each.keys]));
}

/** Why keys cannot be those of a command; null where they can. */
export function refusal(changes: Changes, id: string, keys: readonly string[]): string | null {
  const all = keysOf(changes);
  for (const key of keys) {
    if (FIXED.has(key)) return `${key} cannot be changed: it chooses a category, or leaves what is open`;
    for (const [other, theirs] of all) {
      if (other === id || !theirs.includes(key)) continue;
      return `${key} is taken: ${COMMANDS.find((each) => each.id === other)?.what ?? other}`;
    }
  }
  return keys.length === 0 ? 'a command has one key at least' : null;
}

/** What was stored of a person's keys, as far as it still fits the table. */
export function readChanges(stored: unknown): Changes {
  if (typeof stored !== 'object' || stored === null) return {};
  let found: Changes = {};
  for (const { id } of COMMANDS) {
    const keys = (stored as Record<string, unknown>)[id];
    if (!Array.isArray(keys) || !keys.every((key) => typeof key === 'string')) continue;
    if (refusal(found, id, keys) === null) found = { ...found, [id]: keys };
  }
  return found;
}
