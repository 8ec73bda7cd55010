import { expect, test } from 'vitest';
import { inProject, parse } from './router.svelte';

test.each([
  ['/', 'home', null, ''],
  ['/p/hall', 'overview', 'hall', ''],
  ['/p/hall/jobs/2026-ab', 'jobs', 'hall', '2026-ab'],
  ['/p/yard%20cams/frames', 'frames', 'yard cams', ''],
  ['/admin/audit', 'admin', null, 'audit'],
  ['/nowhere', 'unknown', null, ''],
  ['/p/%E0%A4%A/frames', 'frames', '%E0%A4%A', ''],
])('the address %s is that of a page', (path, page, project, rest) => {
  const place = parse(path);
  expect([place.page, place.project, place.rest]).toEqual([page, project, rest]);
});

test('names with any characters come back from an address as they were', () => {
  const [project, job] = ['a/b c#1?ü', 'x/y&z'];
  const address = inProject(project, 'jobs', job, { stream: 'cam #1/é&=' });
  const [path, search] = address.split('?') as [string, string];
  const place = parse(path, search);
  expect([place.project, place.rest, place.query.get('stream')]).toEqual([project, job, 'cam #1/é&=']);
});
