// What somebody types and has not sent yet: it survives a reload of the page and refusals, in this tab alone.

export class Draft<T extends object> {
  value = $state.raw<T>() as T;

  constructor(
    private readonly name: string,
    private readonly empty: T,
  ) {
    this.value = { ...empty, ...stored<T>(name) };
  }

  set(changes: Partial<T>): void {
    this.value = { ...this.value, ...changes };
    try {
      sessionStorage.setItem(this.name, JSON.stringify(this.value)); // a draft
    } catch {
      // A browser that keeps nothing still has what is on the page.
    }
  }

  clear(): void {
    this.value = this.empty;
    try {
      sessionStorage.removeItem(this.name); // a draft
    } catch {
      // As above.
    }
  }
}

function stored<T>(name: string): Partial<T> {
  try {
    const found: unknown = JSON.parse(sessionStorage.getItem(name) ?? '{}'); // a draft
    return typeof found === 'object' && found !== null ? (found as Partial<T>) : {};
  } catch {
    return {};
  }
}
