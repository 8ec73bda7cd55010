import { expect, test, vi } from 'vitest';
import { Problem } from './api';
import { Chunks, type Chunk } from './chunks';

type Asked = [start: number, snapshot: string | null];

function list(total: number, answer?: (asked: Asked[]) => void) {
  const asked: Asked[] = [];
  const onProblem = vi.fn();
  const onChange = vi.fn();
  const fetch = async (start: number, limit: number, snapshot: string | null): Promise<Chunk<number>> => {
    asked.push([start, snapshot]);
    answer?.(asked);
    const rows = Array.from({ length: Math.max(0, Math.min(limit, total - start)) }, (_, at) => start + at);
    return { snapshot: `s${asked.filter((each) => each[1] === null).length}`, total, rows };
  };
  return { asked, onProblem, onChange, chunks: new Chunks<number>(fetch, onChange, onProblem, 100, 3) };
}
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

test('the first answer fixes the order that later ones are asked with', async () => {
  const { asked, chunks } = list(1000);
  chunks.want(0, 250);
  chunks.want(0, 250);
  await settle();
  chunks.want(0, 250);
  await settle();
  expect(asked).toEqual([[0, null], [100, 's1'], [200, 's1']]);
  expect([chunks.total, chunks.at(0), chunks.at(249), chunks.at(300)]).toEqual([1000, 0, 249, undefined]);
});

test('no more chunks are held than were said', async () => {
  const { chunks } = list(100000);
  chunks.want(0, 10);
  await settle();
  for (const at of [1000, 2000, 3000, 4000]) {
    chunks.want(at, at + 10);
    await settle();
  }
  expect([chunks.at(0), chunks.at(1000), chunks.at(2005), chunks.at(4009)]).toEqual([undefined, undefined, 2005, 4009]);
});

test('where the server no longer has the order, a new one is begun', async () => {
  let gone = true;
  const { asked, chunks, onProblem, onChange } = list(1000, (all) => {
    if (all.length === 2 && gone) {
      gone = false;
      throw new Problem(410, 'gone', ['this snapshot is no longer held']);
    }
  });
  chunks.want(0, 10);
  await settle();
  chunks.want(500, 510);
  await settle();
  expect([chunks.total, chunks.at(0)]).toEqual([null, undefined]);
  chunks.want(500, 510);
  await settle();
  expect(asked.map((each) => each[1])).toEqual([null, 's1', null]);
  expect(onProblem).not.toHaveBeenCalled();
  expect(onChange).toHaveBeenCalledTimes(3);
});

test('what failed is not asked for again by itself', async () => {
  const { asked, chunks, onProblem } = list(1000, () => {
    throw new Problem(422, 'bad', ['where: no such column']);
  });
  chunks.want(0, 10);
  await settle();
  chunks.want(0, 10);
  await settle();
  expect([asked.length, onProblem.mock.calls.length]).toEqual([1, 1]);
  chunks.retry();
  chunks.want(0, 10);
  await settle();
  expect(asked.length).toBe(2);
});
