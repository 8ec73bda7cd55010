// Uploads: what the server says of them, by what a file is known when it comes back, and headers of the protocol.

export interface Upload {
  upload_id: string;
  path: string;
  owner: string;
  is_mine: boolean;
  length: number;
  offset: number;
  state: 'receiving' | 'received' | 'ready' | 'rejected';
  why: string[];
  blake3: string | null;
  found: Record<string, unknown>;
  already_there: boolean;
  fingerprint: string | null;
  is_registered: boolean;
  input: string | null;
  created: string;
  changed: string;
  expires: string | null;
}

export interface UploadList {
  uploads: Upload[];
  next: string | null;
  kept_bytes: number;
  quota_bytes: number | null;
  can_register: boolean;
}

export const CHUNK_BYTES = 64 << 20;
const EDGE_BYTES = 1 << 20;

/** FNV-1a of 32 bits from a start of its own: good enough to tell files of one person from each other. */
function fnv(bytes: Uint8Array, start: number): string {
  let hash = start;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 16777619);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

/** What tells a file from others without reading all of it: its name, size and time of change, and both ends. */
export async function fingerprintOf(file: Blob & { lastModified: number }, path: string): Promise<string> {
  const about = new TextEncoder().encode(`${path}\n${file.size}\n${file.lastModified}\n`);
  const head = new Uint8Array(await file.slice(0, EDGE_BYTES).arrayBuffer());
  const tail = new Uint8Array(await file.slice(Math.max(0, file.size - EDGE_BYTES)).arrayBuffer());
  const all = new Uint8Array(about.length + head.length + tail.length);
  all.set(about);
  all.set(head, about.length);
  all.set(tail, about.length + head.length);
  // From both ends, since one walk alone forgets too much of what came first.
  return `b-${fnv(all, 2166136261)}-${fnv(all.toReversed(), 84696351)}`;
}

/** The header of what a file is called: values are Base64 of UTF-8. */
export function metadataOf(about: Record<string, string>): string {
  return Object.entries(about)
    .map(([name, value]) => `${name} ${btoa(String.fromCharCode(...new TextEncoder().encode(value)))}`)
    .join(',');
}

/** The unfinished upload of a file, or one that is done; null where it never came. Rejected ones do not count. */
export function knownUpload(uploads: readonly Upload[], fingerprint: string): Upload | null {
  return uploads.find((each) => each.is_mine && each.fingerprint === fingerprint && each.state !== 'rejected') ?? null;
}

/** What was found in a file, in words. */
export function foundIn(found: Record<string, unknown>): string {
  const size = found.width && found.height ? `${String(found.width)}×${String(found.height)}` : '';
  if (found.kind === 'clip') {
    const seconds = typeof found.seconds === 'number' ? `${found.seconds.toFixed(1)} s` : '';
    const fps = typeof found.fps === 'number' ? `${found.fps} fps` : '';
    return [String(found.codec), size, fps, seconds].filter(Boolean).join(', ');
  }
  if (found.kind === 'recording' && Array.isArray(found.topics)) return found.topics.join(', ');
  if (found.kind === 'folder') return `${String(found.streams)} streams`;
  return [found.format, size].filter(Boolean).map(String).join(', ');
}

export interface Dropped {
  file: File;
  path: string;
}

/** The files of what was dropped, those in folders with their paths. */
export async function droppedFiles(items: readonly FileSystemEntry[]): Promise<Dropped[]> {
  const found: Dropped[] = [];
  for (const entry of items) {
    if (entry.isFile) {
      const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
      found.push({ file, path: entry.fullPath.replace(/^\//, '') });
    } else if (entry.isDirectory) {
      const reader = (entry as FileSystemDirectoryEntry).createReader();
      // A reader gives a hundred entries at a time, and none at the end.
      for (;;) {
        const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
        if (some.length === 0) break;
        found.push(...(await droppedFiles(some)));
      }
    }
  }
  return found.filter((each) => !each.path.split('/').some((part) => part.startsWith('.')));
}
