import { expect, it } from 'vitest';
import { prepared, within } from './tried';

it('makes images smaller, never larger, and keeps a pixel of each side', () => {
  expect(within(4000, 2000, 1920)).toEqual({ width: 1920, height: 960 });
  expect(within(640, 480, 1920)).toEqual({ width: 640, height: 480 });
  expect(within(100000, 2, 1920)).toEqual({ width: 1920, height: 1 });
});

it('says what it expected where a file is no image', async () => {
  await expect(prepared(new Blob(['text']))).rejects.toThrow('expected an image');
});
