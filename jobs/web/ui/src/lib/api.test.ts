import { expect, test, vi } from 'vitest';
import { address, beginSession, get, imageOf, linesOf, of, Problem, problemOf, whenSignedOut } from './api';

test('any characters survive in an address, and empty parameters are left out', () => {
  const to = address(`${of('yard/1 ü')}timeline`, { stream: 'a&b=c#é', bins: 600, where: '', t: null });
  expect(to).toBe('/api/v1/projects/yard%2F1%20%C3%BC/timeline?stream=a%26b%3Dc%23%C3%A9&bins=600');
});

test('an image has the hash of its content in its address', () => {
  expect(imageOf('p', { stream_id: 's', frame_idx: 0, h: 'abc' }, 320)).toBe('/api/v1/projects/p/media/frame?stream=s&idx=0&h=abc&w=320');
});

test('a problem has the lines that the command line prints', () => {
  const problem = problemOf(409, { title: 'conflict', status: 409, code: 2, lines: ['one', 'two'] }, '7');
  expect(problem).toBeInstanceOf(Problem);
  expect([problem.status, problem.lines, problem.retryAfter]).toEqual([409, ['one', 'two'], 7]);
});

test('an answer that is no problem of ours still says something', () => {
  expect(problemOf(502, null).lines).toEqual(['the server answered 502']);
  expect(problemOf(500, { lines: [1, null] }).lines).toEqual(['the server answered 500']);
  expect([linesOf(new Error('x')), linesOf('y')]).toEqual([['x'], ['y']]);
});

test('an answer to what was asked before somebody signed in does not sign them out', async () => {
  let answer: (response: Response) => void = () => {};
  vi.stubGlobal('fetch', () => new Promise<Response>((resolve) => (answer = resolve)));
  const signedOut = vi.fn();
  whenSignedOut(signedOut);
  const early = get('me');
  beginSession();
  answer(new Response('{}', { status: 401 }));
  await expect(early).rejects.toMatchObject({ status: 401 });
  expect(signedOut).not.toHaveBeenCalled();
  const later = get('me');
  answer(new Response('{}', { status: 401 }));
  await expect(later).rejects.toMatchObject({ status: 401 });
  expect(signedOut).toHaveBeenCalledOnce();
  vi.unstubAllGlobals();
});
