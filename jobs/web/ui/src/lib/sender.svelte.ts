// Sends files in pieces; what is cut off continues at the offset that the server names.

import { get, of, Problem, problemOf, ROOT } from './api';
import { CHUNK_BYTES, fingerprintOf, knownUpload, metadataOf, type Dropped, type UploadList } from './uploads';

const TUS = '1.0.0';
const PARALLEL = 3;
const PAUSES_MS = [200, 500, 1000, 2000];
const AGAIN = new Set([0, 408, 429, 460, 500, 502, 503, 504]);

/** A file that is sent now. `bytes` of it are there. */
export class Sending {
  bytes = $state(0);
  state = $state<'waiting' | 'sending' | 'paused' | 'sent' | 'failed'>('waiting');
  lines = $state.raw<readonly string[]>([]);
  /** Bytes a second, of the last few seconds. */
  rate = $state(0);
  uploadId: string | null = null;
  request: XMLHttpRequest | null = null;
  constructor(readonly file: File, readonly path: string) {}
}

export class Sender {
  all = $state<Sending[]>([]);
  private running = 0;
  constructor(private readonly project: string, private readonly onchange: () => void) {}

  add(files: readonly Dropped[]): void {
    const busy = new Set(this.all.filter((each) => each.state !== 'failed' && each.state !== 'sent').map((each) => each.path));
    const added = files.filter((each) => !busy.has(each.path)).map((each) => new Sending(each.file, each.path));
    const again = new Set(added.map((each) => each.path));
    this.all = [...this.all.filter((each) => !again.has(each.path)), ...added];
    this.next();
  }

  pause(each: Sending): void {
    each.state = 'paused';
    each.request?.abort();
  }

  resume(each: Sending): void {
    each.state = 'waiting';
    each.lines = [];
    this.next();
  }

  /** End all of it, as where the page is left: the server keeps what it has. */
  stop(): void {
    for (const each of this.all) if (each.state === 'sending' || each.state === 'waiting') this.pause(each);
  }

  private next(): void {
    while (this.running < PARALLEL) {
      const each = this.all.find((one) => one.state === 'waiting');
      if (!each) return;
      each.state = 'sending';
      this.running += 1;
      void this.send(each).finally(() => {
        this.running -= 1;
        this.onchange();
        this.next();
      });
    }
  }

  private async send(each: Sending): Promise<void> {
    let failures = 0;
    let offset = -1;
    try {
      const fingerprint = await fingerprintOf(each.file, each.path);
      while (offset < each.file.size && each.state === 'sending') {
        try {
          if (each.uploadId === null) {
            const listed = await get<UploadList>(`${of(this.project)}uploads`, { limit: 1000 });
            const known = knownUpload(listed.uploads, fingerprint);
            each.uploadId = known?.state === 'receiving' ? known.upload_id : await this.begin(each, fingerprint);
            this.onchange();
          }
          if (offset < 0) offset = Number((await this.ask(each, 'HEAD')).getResponseHeader('upload-offset'));
          else offset = await this.append(each, offset);
          each.bytes = offset;
          failures = 0;
        } catch (error) {
          const isAgain = error instanceof Problem && (AGAIN.has(error.status) || (error.status === 409 && each.uploadId !== null));
          if (!isAgain || each.state !== 'sending') throw error;
          each.lines = error.lines;
          offset = -1;
          await new Promise((resolve) => setTimeout(resolve, PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)]));
          failures += 1;
        }
      }
      if (each.state === 'sending') {
        each.state = 'sent';
        each.lines = [];
      }
    } catch (error) {
      // A pause ends a request, too.
      if (each.state !== 'sending') return;
      each.state = 'failed';
      each.lines = error instanceof Problem ? error.lines : [String(error)];
    }
  }

  private async begin(each: Sending, fingerprint: string): Promise<string> {
    const headers = { 'Upload-Length': String(each.file.size), 'Upload-Metadata': metadataOf({ filename: each.path, fingerprint }) };
    const answer = await this.ask(each, 'POST', headers);
    return (answer.getResponseHeader('location') ?? '').split('/').pop() ?? '';
  }

  private async append(each: Sending, offset: number): Promise<number> {
    const piece = each.file.slice(offset, Math.min(each.file.size, offset + CHUNK_BYTES));
    const headers = { 'Upload-Offset': String(offset), 'Content-Type': 'application/offset+octet-stream' };
    const begun = performance.now();
    const answer = await this.ask(each, 'PATCH', headers, piece, (sent) => {
      each.bytes = offset + sent;
      each.rate = (sent / Math.max(1, performance.now() - begun)) * 1000;
    });
    return Number(answer.getResponseHeader('upload-offset'));
  }

  /** One request. It is no `fetch`, which does not say how much of a body is sent. */
  private ask(each: Sending, method: string, headers: Record<string, string> = {}, body?: Blob, onsent?: (bytes: number) => void): Promise<XMLHttpRequest> {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      each.request = request;
      request.open(method, `${ROOT}${of(this.project)}uploads${method === 'POST' ? '' : `/${each.uploadId ?? ''}`}`);
      for (const [name, value] of Object.entries({ 'Tus-Resumable': TUS, ...headers })) request.setRequestHeader(name, value);
      if (onsent) request.upload.onprogress = (event) => onsent(event.loaded);
      const lost = (): void => reject(new Problem(0, 'no answer', ['the connection is lost; it continues once the server answers']));
      request.onerror = lost;
      request.onabort = lost;
      request.onload = () => {
        if (request.status < 300) {
          resolve(request);
          return;
        }
        let about: unknown = null;
        try {
          about = JSON.parse(request.responseText);
        } catch {
          // A proxy in between answers in its own words.
        }
        reject(problemOf(request.status, about));
      };
      request.send(body ?? null);
    });
  }
}
