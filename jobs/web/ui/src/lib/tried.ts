// An image that is sent to be tried: as it is where that is small enough, else as a smaller JPEG.

/** Bytes that a request may have. */
export const MOST_BYTES = 1 << 20;
/** The longer side of an image that has to be made smaller, in pixels. */
export const LONG_SIDE = 1920;

export interface Prepared {
  body: Blob;
  width: number;
  height: number;
  /** Whether it is not the file itself. */
  reduced: boolean;
}

/** The size of an image after its longer side is at most `most`: never larger than it was, no side of nothing. */
export function within(width: number, height: number, most: number): { width: number; height: number } {
  const factor = Math.min(1, most / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * factor)), height: Math.max(1, Math.round(height * factor)) };
}

/** The image of a file, ready to be sent. Raises an error with one line where it is no image. */
export async function prepared(file: Blob): Promise<Prepared> {
  let image: ImageBitmap;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new Error('expected an image as a JPEG, PNG or WebP file, found another one, or one that is damaged');
  }
  const { width, height } = image;
  if (file.size <= MOST_BYTES && /^image\/(jpeg|png)$/.test(file.type)) return { body: file, width, height, reduced: false };
  for (const [side, quality] of [[LONG_SIDE, 0.92], [LONG_SIDE, 0.75], [1280, 0.75], [960, 0.6]] as const) {
    const size = within(width, height, side);
    const canvas = new OffscreenCanvas(size.width, size.height);
    canvas.getContext('2d')?.drawImage(image, 0, 0, size.width, size.height);
    const body = await canvas.convertToBlob({ type: 'image/jpeg', quality });
    if (body.size <= MOST_BYTES) return { body, ...size, reduced: true };
  }
  throw new Error(`expected an image that fits into ${MOST_BYTES >> 20} MiB as a JPEG, found a larger one; make it smaller`);
}
