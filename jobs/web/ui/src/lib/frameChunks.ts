// The frames that filters choose, loaded in chunks as a list of them is scrolled.

import { get, of, type Query } from './api';
import { Chunks } from './chunks';
import type { FramePage, FrameRow } from './types';

export const chunksOfFrames = (
  project: string,
  query: Query,
  onChange: () => void,
  /** What went wrong, or undefined once a chunk was loaded. */
  onProblem: (problem: unknown) => void,
): Chunks<FrameRow> =>
  new Chunks<FrameRow>(
    async (start, limit, snapshot, signal) => {
      const page = await get<FramePage>(`${of(project)}frames`, { ...query, start, limit, snapshot }, signal);
      onProblem(undefined);
      return { snapshot: page.snapshot, total: page.total, rows: page.frames };
    },
    onChange,
    onProblem,
  );
