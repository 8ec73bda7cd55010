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
  /** The session ended while work was open: who it was signs in over the page, which stays as it is. */
  expired = $state(false);
  private holds = 0;
  /** The page where something was typed. */
  private typedAt = '';

  async start(): Promise<void> {
    addEventListener('input', () => (this.typedAt = location.pathname), true);
    whenSignedOut(() => {
      if ((this.holds > 0 || this.typedAt === location.pathname) && this.me) this.expired = true;
      else this.signedOut();
    });
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
    const isSame = this.me?.user.user_id === me.user.user_id;
    // Somebody else has other rights and other work: nothing of the page before is theirs.
    if (this.expired && !isSame) location.reload();
    this.expired = false;
    this.me = me;
    this.problem = undefined;
    live.start(me.build);
  }

  async signOut(): Promise<void> {
    await remove('session');
    this.signedOut();
  }

  /** Keep the page when the session ends, until the returned function is called. */
  hold(): () => void {
    this.holds += 1;
    return () => {
      this.holds -= 1;
    };
  }

  private signedOut(): void {
    live.stop();
    this.expired = false;
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
