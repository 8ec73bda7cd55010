// Who is signed in, and what they may do in which project.

import { beginSession, get, Problem, remove, whenSignedOut } from './api';
import { live } from './live.svelte';
import { router } from './router.svelte';
import { ROLES, type Me, type Role } from './types';

class Session {
  me = $state.raw<Me | null>(null);
  /** Why nothing is known of who asks: the server does not answer, say. */
  problem = $state.raw<unknown>(undefined);
  asked = $state(false);

  async start(): Promise<void> {
    whenSignedOut(() => this.signedOut());
    await this.refresh();
  }

  async refresh(): Promise<void> {
    try {
      this.signedIn(await get<Me>('me'));
      this.problem = undefined;
    } catch (error) {
      if (!(error instanceof Problem && error.status === 401)) this.problem = error;
    }
    this.asked = true;
  }

  signedIn(me: Me): void {
    beginSession();
    this.me = me;
    this.problem = undefined;
    live.start(me.build);
  }

  async signOut(): Promise<void> {
    await remove('session');
    this.signedOut();
  }

  private signedOut(): void {
    live.stop();
    this.me = null;
  }

  get project(): string | null {
    return router.place.project ?? this.me?.projects[0]?.project ?? null;
  }

  get role(): Role | null {
    const project = this.project;
    return this.me?.projects.find((each) => each.project === project)?.role ?? (this.me?.user.is_admin ? 'admin' : null);
  }

  /** Whether the role in this project is at least another. */
  may(least: Role): boolean {
    return this.me?.user.is_admin === true || atLeast(this.role, least);
  }
}

export const atLeast = (role: Role | null, least: Role): boolean =>
  role !== null && ROLES.indexOf(role) >= ROLES.indexOf(least);

export const session = new Session();
