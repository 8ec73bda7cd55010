// Signing in with an OpenID provider: the way there, and what has to be known on the way back.

import { get, post, Problem } from './api';

export interface Ways {
  password: boolean;
  oidc: string | null;
}

export interface Invited {
  token: string;
  name: string;
  display_name: string;
}


let known: Promise<Ways> | null = null;

/** How people sign in here; asked once. */
export function ways(): Promise<Ways> {
  known ??= get<Ways>('session/ways').catch((error: unknown) => {
    known = null;
    throw error;
  });
  return known;
}

/** Go to the provider. What is needed on the way back is in a cookie that no script reads. */
export async function leave(purpose: 'sign_in' | 'link' | 'invitation', about: { before?: string; invitation?: Invited } = {}): Promise<void> {
  const { address } = await post<{ address: string }>('session/oidc', { purpose, ...about }, purpose !== 'link');
  location.assign(address);
}

export interface WayBack {
  purpose: 'sign_in' | 'link' | 'invitation';
  body: { code: string; state: string; iss?: string };
}

/** What a provider sent the browser back with. Throws a Problem for what it refused, and for what is incomplete. */
export function wayBack(search: string): WayBack {
  const query = new URLSearchParams(search);
  const refused = query.get('error');
  if (refused !== null) {
    const said = /^[A-Za-z0-9_.-]{1,60}$/.test(refused) ? refused : 'no reason that can be shown';
    throw new Problem(0, 'refused', [`the provider did not sign you in: ${said}`]);
  }
  const [code, state, iss] = [query.get('code'), query.get('state'), query.get('iss')];
  const purpose = /^(sign_in|link|invitation)\./.exec(state ?? '')?.[1];
  if (!code || !state || purpose === undefined) {
    throw new Problem(0, 'incomplete', ['this address is incomplete; sign in again']);
  }
  return { purpose: purpose as WayBack['purpose'], body: { code, state, ...(iss !== null && { iss }) } };
}

/** A path of this site that was kept, or its beginning. */
export const pathOf = (kept: string | undefined): string => (kept !== undefined && /^\/(?![/\\])/.test(kept) ? kept : '/');
