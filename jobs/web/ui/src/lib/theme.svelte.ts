// Dark or light: as the system has it, unless somebody chose.

export type Theme = 'system' | 'light' | 'dark';
const NAME = 'winnow.theme';

class ThemeChoice {
  choice = $state<Theme>('system');
  /** Counts the changes of colours, so that what is drawn on canvases is drawn again. */
  changes = $state(0);

  start(): void {
    const preference = read();
    if (preference === 'light' || preference === 'dark') this.choice = preference;
    this.apply();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      this.changes += 1;
    });
  }

  choose(choice: Theme): void {
    this.choice = choice;
    try {
      localStorage.setItem(NAME, choice); // a preference
    } catch {
      // Browsers that store nothing ask the system each time.
    }
    this.apply();
  }

  private apply(): void {
    if (this.choice === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.choice;
    this.changes += 1;
  }
}

function read(): string | null {
  try {
    return localStorage.getItem(NAME); // a preference
  } catch {
    return null;
  }
}

export const theme = new ThemeChoice();

/** The colours of the theme as a canvas takes them. */
export function colours(names: readonly string[]): Record<string, string> {
  const probe = document.createElement('span');
  document.body.append(probe);
  const found: Record<string, string> = {};
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
