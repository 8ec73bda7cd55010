// The pages of the rail: what they are called, the letter that goes there after `g`, and where their code is.
import type { Component } from 'svelte';

export interface Page {
  name: string;
  label: string;
  letter: string;
  /** Whether it shows a project, and so has its name in the address. */
  ofProject: boolean;
  /** Whether only people who administer the server or a project see it. */
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
  {
    name: 'frames', label: 'Frames', letter: 'f', ofProject: true, forAdmins: false,
    icon: 'M2 2h5v5H2zM9 2h5v5H9zM2 9h5v5H2zM9 9h5v5H9z',
    load: () => import('../pages/Frames.svelte'),
  },
  {
    name: 'map', label: 'Map', letter: 'p', ofProject: true, forAdmins: false,
    icon: 'M3.5 4.5h.01M6 11h.01M9 3h.01M12.5 6h.01M8 7.5h.01M11 12.5h.01M4 8h.01M12.5 9.5h.01M2 14h12M2 2v12',
    load: () => import('../pages/FrameMap.svelte'),
  },
  {
    name: 'review', label: 'Review', letter: 'r', ofProject: true, forAdmins: false,
    icon: 'M2 2.5h12v8H8l-3 3v-3H2zM5.5 6.5l2 2 3.5-4',
    load: () => import('../pages/Review.svelte'),
  },
  {
    name: 'thresholds', label: 'Thresholds', letter: 't', ofProject: true, forAdmins: false,
    icon: 'M2 4h7M12.5 4H14M2 8h2.5M8 8h6M2 12h7M12.5 12H14M9 2.3v3.4M6.2 6.3v3.4M9 10.3v3.4',
    load: () => import('../pages/Thresholds.svelte'),
  },
  {
    name: 'datasets', label: 'Datasets', letter: 'd', ofProject: true, forAdmins: false,
    icon: 'M8 1.8c3.3 0 5.5.9 5.5 2.1S11.3 6 8 6 2.5 5.1 2.5 3.9 4.7 1.8 8 1.8zM2.5 3.9v8.2c0 1.2 2.2 2.1 5.5 2.1s5.5-.9 5.5-2.1V3.9M2.5 8c0 1.2 2.2 2.1 5.5 2.1s5.5-.9 5.5-2.1',
    load: () => import('../pages/Datasets.svelte'),
  },
  {
    name: 'uploads', label: 'Uploads', letter: 'u', ofProject: true, forAdmins: false,
    icon: 'M8 11V2.5M4.5 6L8 2.5 11.5 6M2.5 10.5v3h11v-3',
    load: () => import('../pages/Uploads.svelte'),
  },
  {
    name: 'models', label: 'Models', letter: 'l', ofProject: true, forAdmins: false,
    icon: 'M2 13l3.5-5 3 3L14 3M10 3h4v4',
    load: () => import('../pages/Models.svelte'),
  },
  {
    name: 'jobs', label: 'Jobs', letter: 'j', ofProject: true, forAdmins: false,
    icon: 'M4 2.5l9 5.5-9 5.5z',
    load: () => import('../pages/Jobs.svelte'),
  },
  {
    name: 'admin', label: 'Admin', letter: 'a', ofProject: false, forAdmins: true,
    icon: 'M8 1.5l5.5 2v4c0 3.5-2.5 5.8-5.5 7-3-1.2-5.5-3.5-5.5-7v-4z',
    load: () => import('../pages/Admin.svelte'),
  },
  {
    name: 'account', label: 'Account', letter: 'm', ofProject: false, forAdmins: false,
    icon: 'M8 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2.5 14.5c.6-3 2.8-4.5 5.5-4.5s4.9 1.5 5.5 4.5',
    load: () => import('../pages/Account.svelte'),
  },
  {
    name: 'reference', label: 'API', letter: 'i', ofProject: false, forAdmins: false,
    icon: 'M5.5 3L2 8l3.5 5M10.5 3L14 8l-3.5 5M9 2.5l-2 11',
    load: () => import('../pages/Reference.svelte'),
  },
];
