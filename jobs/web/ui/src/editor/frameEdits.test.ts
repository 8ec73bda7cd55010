import { expect, test } from 'vitest';
import { FrameEdits } from './frameEdits';
import { reviewObject } from './fixtures';
import { History, MOST_STEPS } from './history';
import type { Op, ReviewObject } from './wire';

const frame = (objects: ReviewObject[], suggestions: ReviewObject[] = []) =>
  new FrameEdits({ width: 100, height: 80, objects, deleted: [], suggestions, tags: [] }, 'jane');
const standing = (edits: FrameEdits) => JSON.stringify([edits.scene.all().map((each) => ({ ...each, author: null, checkedBy: null })), edits.tags]);

const OPS: Op[][] = [
  [{ op: 'add', object_id: 'new', category: 'dog', bbox: [1, 2, 3, 4] }],
  [{ op: 'set', object_id: 'a', category: 'dog' }],
  [{ op: 'set', object_id: 'a', bbox: [0, 0, 5, 5], rotation: 30 }, { op: 'set', object_id: 'a', track_id: 4 }],
  [{ op: 'set', object_id: 'b', polygons: [[0, 0, 9, 0, 9, 9]] }],
  [{ op: 'delete', object_id: 'b' }],
  [{ op: 'negative' }],
  [{ op: 'tags', tags: ['night'] }],
  [{ op: 'accept', object_id: 's' }],
];

test.each(OPS.map((ops) => [ops.map((each) => each.op).join(', '), ops] as const))('%s and its inverse leave what was', (_, ops) => {
  const edits = frame([reviewObject('a'), reviewObject('b', { polygons: [[0, 0, 10, 0, 0, 10]] })], [reviewObject('s')]);
  const before = standing(edits);
  const inverse = edits.apply(ops);
  expect(standing(edits)).not.toBe(before);
  const again = edits.apply(inverse);
  expect(JSON.parse(standing(edits))[0].map((each: { id: string }) => each.id).sort()).toEqual(['a', 'b']);
  expect(standing(edits).length).toBe(before.length);
  edits.apply(again);
  expect(standing(edits)).not.toBe(before);
});

test('what somebody else changed is taken in, but for objects with changes that are still to be sent', () => {
  const edits = frame([reviewObject('a'), reviewObject('b'), reviewObject('c')]);
  edits.apply([{ op: 'set', object_id: 'a', category: 'dog' }]);
  edits.merge([reviewObject('a', { category: 'cat' }), reviewObject('d', { category: 'cat' })], ['b'], new Set(['a']));
  expect(edits.scene.all().map((each) => [each.id, each.category])).toEqual([['a', 'dog'], ['c', 'car'], ['d', 'cat']]);
  edits.apply([{ op: 'restore', object_id: 'b' }]);
  expect(edits.scene.get('b')?.category).toBe('car');
});

test('an object that is added, taken back and added again is restored', () => {
  const history = new History();
  const frame = { stream_id: 's', frame_idx: 1, h: 'h' };
  history.add({ frame, ops: [{ op: 'add', object_id: 'a', category: 'car', bbox: [0, 0, 1, 1] }], inverse: [{ op: 'delete', object_id: 'a' }] });
  history.undo();
  expect(history.redo()?.ops).toEqual([{ op: 'restore', object_id: 'a' }]);
  expect(history.undo()?.inverse).toEqual([{ op: 'delete', object_id: 'a' }]);
});

test('steps are undone and redone across frames, a hundred of them', () => {
  const history = new History();
  const step = (n: number) => ({
    frame: { stream_id: 's', frame_idx: n, h: 'h' },
    ops: [{ op: 'delete' as const, object_id: `${n}` }],
    inverse: [{ op: 'restore' as const, object_id: `${n}` }],
  });
  for (let n = 0; n < MOST_STEPS + 5; n += 1) history.add(step(n));
  expect(history.undo()?.frame.frame_idx).toBe(104);
  expect(history.undo()?.frame.frame_idx).toBe(103);
  expect(history.redo()?.frame.frame_idx).toBe(103);
  history.add(step(200));
  expect(history.canRedo).toBe(false);
  let undone = 0;
  while (history.undo()) undone += 1;
  expect(undone).toBe(MOST_STEPS);
});
