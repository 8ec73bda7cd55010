// What a page asked the server for: the old answer stays until there is a new one.

const PATIENCE_MS = 150;

export class Loaded<T> {
  value = $state.raw<T | undefined>(undefined);
  problem = $state.raw<unknown>(undefined);
  /** Whether an answer has been awaited for longer than people notice. */
  slow = $state(false);
  private controller: AbortController | null = null;

  /** Ask; an older question is not awaited any more. Returns what ends the asking. */
  load(ask: (signal: AbortSignal) => Promise<T>): () => void {
    this.controller?.abort();
    const controller = new AbortController();
    this.controller = controller;
    const timer = setTimeout(() => {
      this.slow = true;
    }, PATIENCE_MS);
    const isLatest = (): boolean => this.controller === controller && !controller.signal.aborted;
    ask(controller.signal)
      .then((value) => {
        if (!isLatest()) return;
        this.value = value;
        this.problem = undefined;
      })
      .catch((error: unknown) => {
        if (isLatest()) this.problem = error;
      })
      .finally(() => {
        clearTimeout(timer);
        if (this.controller === controller) this.slow = false;
      });
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }

  clear(): void {
    this.controller?.abort();
    this.value = undefined;
    this.problem = undefined;
  }
}
