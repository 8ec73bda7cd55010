import { describe, expect, it } from 'vitest';
import { fingerprintOf, foundIn, knownUpload, metadataOf, type Upload } from './uploads';

const file = (text: string, at = 1): File => new File([text], 'a.mp4', { lastModified: at });

describe('what a file is known by', () => {
  it('is the same for the same file, and another one for any change', async () => {
    const one = await fingerprintOf(file('abc'), 'a.mp4');
    expect(await fingerprintOf(file('abc'), 'a.mp4')).toBe(one);
    for (const other of [
      await fingerprintOf(file('abd'), 'a.mp4'),
      await fingerprintOf(file('abc', 2), 'a.mp4'),
      await fingerprintOf(file('abc'), 'b.mp4'),
    ]) expect(other).not.toBe(one);
    expect(one).toMatch(/^[0-9a-zA-Z_-]{1,100}$/);
  });

  it('finds what is unfinished, of oneself alone', () => {
    const upload = { is_mine: true, fingerprint: 'f', state: 'receiving' } as Upload;
    expect(knownUpload([upload], 'f')).toBe(upload);
    expect(knownUpload([{ ...upload, is_mine: false }, { ...upload, state: 'rejected' }], 'f')).toBeNull();
  });
});

it('sends names as Base64 of UTF-8', () => {
  expect(metadataOf({ filename: 'ü.mp4', fingerprint: 'f1' })).toBe('filename w7wubXA0,fingerprint ZjE=');
});

it('says what was found in a file', () => {
  expect(foundIn({ kind: 'clip', codec: 'h264', width: 160, height: 90, fps: 25, seconds: 12 })).toBe('h264, 160×90, 25 fps, 12.0 s');
  expect(foundIn({ kind: 'image', format: 'jpeg', width: 160, height: 90 })).toBe('jpeg, 160×90');
});
