// The pages of the rail: what they are called, the letter that goes there after `g`, and where their code is.
import type { Component } from 'svelte';

export interface Page {
  name: string;
  label: string;
  letter: string;
  /** Whether it shows a project, and so has its name in the address. */
  ofProject: boolean;
  /** Whether only people who administer the server see it. */
  forAdmins: boolean;
  /** An outline in a square of 16. */
  icon: string;
  load: () => Promise<{ default: Component }>;
}

export const PAGES: readonly Page[] = [
  {
    name: 'overview', label: 'Overview', letter: 'o', ofProject: true, forAdmins: false,
    icon: 'M2 3h12M2 8h12M2 13h12M5 1.5v3M10 6.5v3M7 11.5v3',
    load: () => import('../pages/Overview.svelte'),
  },
];
