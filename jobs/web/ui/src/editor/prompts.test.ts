import { describe, expect, it } from 'vitest';
import { Editor, type EditorListener, type Pointer } from './editor';
import { reviewObject } from './fixtures';
import { compressed } from './masks';
import type { Prompts } from './prompts';
import type { Op, ReviewFrame } from './wire';

const nothing = (): void => {};
const at = (x: number, y: number, more: Partial<Pointer> = {}): Pointer => ({ id: 1, at: [x, y], type: 'mouse', button: 0, shift: false, alt: false, ...more });

function desk(): { editor: Editor; asked: Prompts[]; ops: Op[][]; notices: string[]; press: (x: number, y: number, more?: Partial<Pointer>) => void } {
  const [asked, ops, notices]: [Prompts[], Op[][], string[]] = [[], [], []];
  const listener: EditorListener = {
    onEdit: (made) => ops.push(made), onNotice: (line) => notices.push(line), onPrompts: (prompts) => asked.push(prompts),
    onView: nothing, onObjects: nothing, onActive: nothing, onSelection: nothing, onTool: nothing,
  };
  const editor = new Editor(listener);
  editor.resize({ width: 100, height: 100 });
  const frame = { width: 100, height: 100, deleted: [], tags: [], suggestions: [], objects: [reviewObject('car-0001', { bbox: [60, 60, 20, 20] })] };
  editor.open(frame as unknown as ReviewFrame, 'ada');
  editor.look({ scale: 1, left: 0, top: 0 });
  editor.category = 'car';
  const press = (x: number, y: number, more: Partial<Pointer> = {}): void => {
    editor.down(at(x, y, more));
    editor.up(at(x, y, more));
  };
  return { editor, asked, ops, notices, press };
}

// A mask of a frame of 100x100 pixels: ten pixels of its second column.
const MASK = [100, 10, 9890];

describe('masks by points and boxes', () => {
  it('asks for what was pressed, with the sign of the key and of the button, and keeps the mask as an object', () => {
    const { editor, asked, ops, press } = desk();
    editor.usePoints(1);
    press(10, 12);
    press(30, 32, { button: 2 });
    editor.usePoints(0);
    press(40, 42);
    const last = asked.at(-1) as Prompts;
    expect(last.points).toEqual([{ at: [10, 12], sign: 1 }, { at: [30, 32], sign: 0 }, { at: [40, 42], sign: 0 }]);
    editor.onMask(last, MASK);
    editor.finish();
    expect(ops).toEqual([[{ op: 'add', object_id: expect.any(String), category: 'car', rle: compressed(MASK) }]]);
    expect(editor.isDrawing).toBe(false);
    expect(editor.tool).toBe('points');
  });

  it('takes a dragged box, and the selected box, whose shape the mask becomes', () => {
    const { editor, asked, ops } = desk();
    editor.usePoints(1);
    editor.down(at(5, 5));
    editor.move(at(25, 45));
    editor.up(at(25, 45));
    expect(asked.at(-1)).toEqual({ points: [], box: [5, 5, 20, 40], object: null });
    editor.use('select');
    editor.select(['car-0001']);
    editor.usePoints(1);
    const last = asked.at(-1) as Prompts;
    expect(last).toEqual({ points: [], box: [60, 60, 20, 20], object: 'car-0001' });
    editor.onMask(last, MASK);
    editor.finish();
    expect(ops).toEqual([[{ op: 'set', object_id: 'car-0001', rle: compressed(MASK) }]]);
  });

  it('ignores answers to earlier prompts, and takes points back one by one', () => {
    const { editor, asked, notices, ops, press } = desk();
    editor.usePoints(1);
    press(10, 10);
    const old = asked.at(-1) as Prompts;
    press(20, 20);
    editor.onMask(old, MASK);
    editor.finish();
    expect(ops).toEqual([]);
    expect(notices).toEqual(['there is no mask yet; Escape leaves it']);
    editor.takeBack();
    editor.takeBack();
    expect(editor.isDrawing).toBe(false);
    press(10, 10);
    editor.cancel();
    expect(editor.isDrawing).toBe(false);
    expect(editor.draft).toBeNull();
  });
});
