import { expect, test } from 'vitest';
import { Editor, turnHandle, type EditorListener, type Pointer } from './editor';
import { reviewObject } from './fixtures';
import { COMMANDS, keysOf, readChanges, refusal } from './keymap';
import { areaOf } from './masks';
import type { MaskShape, Point } from './shapes';
import type { Op, ReviewFrame, ReviewObject } from './wire';

const FRAME = { width: 100, height: 80, deleted: [], tags: [] };

function editing(objects: ReviewObject[], suggestions: ReviewObject[] = []) {
  const edits: Op[][] = [];
  const notices: string[] = [];
  const nothing = (): void => {};
  const listener: EditorListener = {
    onEdit: (ops) => edits.push(ops), onNotice: (line) => notices.push(line), onPrompts: nothing,
    onView: nothing, onObjects: nothing, onActive: nothing, onSelection: nothing, onTool: nothing,
  };
  const editor = new Editor(listener);
  editor.resize({ width: 1000, height: 800 });
  editor.open({ ...FRAME, objects, suggestions } as unknown as ReviewFrame, 'jane');
  // Ten pixels of the canvas for one of the frame.
  editor.look({ scale: 10, left: 0, top: 0 });
  editor.category = 'car';
  return { editor, edits, notices };
}

const at = (x: number, y: number, more: Partial<Pointer> = {}): Pointer => ({
  id: 1, at: [x, y], type: 'mouse', button: 0, shift: false, alt: false, ...more,
});
function drag(editor: Editor, from: Point, ...to: Point[]): void {
  editor.move(at(...from));
  editor.down(at(...from));
  for (const point of to) editor.move(at(...point));
  editor.up(at(...(to.at(-1) ?? from)));
}
const click = (editor: Editor, x: number, y: number): void => drag(editor, [x, y]);

test('a box is drawn, becomes one operation, and the tool stays', () => {
  const { editor, edits } = editing([]);
  editor.use('box');
  drag(editor, [100, 100], [150, 130], [300, 250]);
  drag(editor, [400, 400], [1200, 500]);
  expect(edits.map(([op]) => op && 'bbox' in op && op.bbox)).toEqual([[10, 10, 20, 15], [40, 40, 60, 10]]);
  expect([editor.tool, editor.selection.length]).toEqual(['box', 1]);
  // Its handle is grabbed with the same tool.
  drag(editor, [400, 400], [450, 420]);
  expect(edits[2]).toEqual([{ op: 'set', object_id: editor.selection[0], bbox: [45, 42, 55, 8], rotation: 0 }]);
});

test('a press without a drag selects, whatever the tool: the smallest first, the next one when pressed again', () => {
  const { editor, edits } = editing([reviewObject('large', { bbox: [0, 0, 60, 60] }), reviewObject('small', { bbox: [20, 20, 8, 8] })]);
  click(editor, 240, 240);
  expect(editor.selection).toEqual(['small']);
  click(editor, 240, 240);
  expect(editor.selection).toEqual(['large']);
  click(editor, 240, 240);
  expect(editor.selection).toEqual(['small']);
  editor.use('box');
  click(editor, 500, 500);
  expect(editor.selection).toEqual(['large']);
  expect(edits).toEqual([]);
});

test('an object is moved as one operation, and not by less than a hand shakes', () => {
  const { editor, edits } = editing([reviewObject('a')]);
  drag(editor, [200, 200], [201, 201]);
  expect(edits).toEqual([]);
  drag(editor, [200, 200], [250, 210], [300, 250]);
  expect(edits).toEqual([[{ op: 'set', object_id: 'a', bbox: [20, 15, 20, 20], rotation: 0 }]]);
  expect(editor.active).toBe(null);
});

test('a box is turned by its handle, in steps with Shift, and drawn turned', () => {
  const { editor, edits } = editing([reviewObject('a', { bbox: [40, 30, 20, 20] })]);
  click(editor, 500, 400);
  const [x, y] = turnHandle({ kind: 'box', box: [40, 30, 20, 20], degrees: 0 }, editor.view);
  expect([x, y]).toEqual([500, 274]);
  editor.down(at(500, 274));
  editor.move(at(700, 395, { shift: true }));
  editor.up(at(700, 395));
  expect(edits[0]).toEqual([{ op: 'set', object_id: 'a', bbox: [40, 30, 20, 20], rotation: 90 }]);
  editor.use('turned');
  drag(editor, [100, 700], [400, 400]);
  editor.move(at(450, 450));
  click(editor, 450, 450);
  const [op] = edits[1] as [Extract<Op, { op: 'add' }>];
  expect(op.rotation).toBe(315);
  expect(op.bbox?.slice(2)).toEqual([expect.closeTo(42.43, 1), expect.closeTo(7.07, 1)]);
});

test('a polygon: corners, one taken back, closed on its first; then one is moved, added and deleted', () => {
  const { editor, edits, notices } = editing([]);
  editor.use('polygon');
  for (const [x, y] of [[100, 100], [300, 100], [320, 320], [300, 300], [100, 300]] as const) click(editor, x, y);
  editor.takeBack();
  click(editor, 100, 300);
  click(editor, 102, 101);
  const id = editor.selection[0] as string;
  expect(edits).toEqual([[{ op: 'add', object_id: id, category: 'car', polygons: [[10, 10, 30, 10, 32, 32, 30, 30, 10, 30]] }]]);
  editor.use('select');
  drag(editor, [320, 320], [400, 200]);
  editor.move(at(200, 100));
  drag(editor, [200, 100], [200, 50]);
  expect((edits[2] as { polygons: number[][] }[])[0]?.polygons[0]?.slice(0, 6)).toEqual([10, 10, 20, 5, 30, 10]);
  editor.move(at(200, 50));
  editor.deleteSelection();
  expect((edits[3] as { polygons: number[][] }[])[0]?.polygons[0]?.length).toBe(10);
  // An edge over another is not taken.
  drag(editor, [300, 300], [50, 200]);
  expect(edits.length).toBe(4);
  expect(notices[0]).toContain('would cross');
});

test('a polygon whose edges cross is not closed', () => {
  const { editor, edits, notices } = editing([]);
  editor.use('polygon');
  for (const [x, y] of [[100, 100], [300, 300], [300, 100], [100, 300]] as const) click(editor, x, y);
  editor.finish();
  expect(edits).toEqual([]);
  expect(notices).toEqual(['edges of the polygon cross; Backspace takes its last corner back']);
  expect(editor.isDrawing).toBe(true);
  editor.cancel();
  expect(editor.isDrawing).toBe(false);
});

test('a mask is painted, added to, and erased with the other button; nothing left deletes it', () => {
  const { editor, edits } = editing([]);
  editor.use('mask');
  editor.setBrush(3);
  drag(editor, [200, 200], [400, 200]);
  const mask = (): MaskShape => editor.selected[0]?.shape as MaskShape;
  const first = areaOf(mask().counts);
  expect(first).toBeGreaterThan(6 * 20);
  drag(editor, [200, 400], [400, 400]);
  expect(areaOf(mask().counts)).toBe(2 * first);
  expect(edits.map(([op]) => op?.op)).toEqual(['add', 'set']);
  editor.setBrush(30);
  editor.down(at(300, 300, { button: 2 }));
  editor.move(at(310, 300, { button: 2 }));
  editor.up(at(310, 300, { button: 2 }));
  expect(edits[2]?.[0]?.op).toBe('delete');
});

test('two fingers move and zoom, and draw nothing', () => {
  const { editor, edits } = editing([]);
  editor.use('box');
  const touch = (id: number, x: number, y: number): Pointer => at(x, y, { id, type: 'touch' });
  editor.down(touch(1, 400, 400));
  editor.move(touch(1, 420, 400));
  editor.down(touch(2, 600, 400));
  editor.move(touch(1, 300, 400));
  editor.move(touch(2, 720, 400));
  editor.up(touch(2, 720, 400));
  editor.up(touch(1, 300, 400));
  expect(edits).toEqual([]);
  expect(editor.view.scale).toBeCloseTo(10 * (420 / 180));
  // One finger draws again.
  editor.look({ scale: 10, left: 0, top: 0 });
  editor.down(touch(3, 100, 100));
  editor.move(touch(3, 200, 200));
  editor.up(touch(3, 200, 200));
  expect(edits.length).toBe(1);
});

test('a pointer that is taken away leaves nothing behind', () => {
  const { editor, edits } = editing([reviewObject('a')]);
  editor.down(at(200, 200));
  editor.move(at(400, 400));
  editor.lost(at(400, 400));
  expect([edits, editor.active, editor.isDrawing]).toEqual([[], null, false]);
});

test('the suggestion under the pointer is found, unless suggestions are hidden', () => {
  const { editor } = editing([], [reviewObject('s')]);
  editor.move(at(200, 200));
  expect(editor.suggestionUnder?.id).toBe('s');
  editor.showsSuggestions = false;
  expect(editor.suggestionUnder).toBe(undefined);
});

test('a category is that of what is selected and of what is drawn next; without one nothing is drawn', () => {
  const { editor, edits, notices } = editing([reviewObject('a'), reviewObject('b', { category: 'dog' })]);
  editor.select(['a', 'b']);
  editor.setCategory('dog');
  expect(edits).toEqual([[{ op: 'set', object_id: 'a', category: 'dog' }]]);
  editor.category = '';
  editor.addInTheMiddle();
  expect(edits.length).toBe(1);
  expect(notices[0]).toContain('choose a category first');
});

test('without a pointer a box is placed, moved and sized', () => {
  const { editor, edits } = editing([]);
  editor.addInTheMiddle();
  editor.nudge(10, 0, false);
  editor.nudge(0, -20, true);
  expect(edits.map(([op]) => op && 'bbox' in op && op.bbox)).toEqual([[40, 30, 20, 20], [41, 30, 20, 20], [41, 30, 20, 18]]);
});

test('zoom and position stay from frame to frame; z goes to what is selected, and back', () => {
  const { editor } = editing([reviewObject('a')]);
  const view = editor.view;
  editor.open({ ...FRAME, objects: [reviewObject('b')], suggestions: [] } as unknown as ReviewFrame, 'jane');
  expect(editor.view).toEqual(view);
  editor.select(['b']);
  editor.zoomToSelection();
  expect(editor.view.scale).toBeCloseTo(20);
  editor.zoomToSelection();
  expect(editor.view.scale).toBeCloseTo(9.8);
});

test('no two commands have a key; a person may change one, unless it is taken', () => {
  const all = COMMANDS.flatMap((each) => each.keys);
  expect(new Set(all).size).toBe(all.length);
  expect(COMMANDS.map((each) => refusal({}, each.id, each.keys))).toEqual(COMMANDS.map(() => null));
  expect(refusal({}, 'box', ['p'])).toBe('p is taken: Polygon');
  expect(refusal({ polygon: ['P'] }, 'box', ['p'])).toBe(null);
  expect(refusal({}, 'box', ['1'])).toContain('cannot be changed');
  expect(keysOf({ box: ['y'] }).get('box')).toEqual(['y']);
  expect(readChanges({ box: ['y'], polygon: ['m'], nonsense: ['k'], mask: 3 })).toEqual({ box: ['y'] });
  expect(readChanges('x')).toEqual({});
});
