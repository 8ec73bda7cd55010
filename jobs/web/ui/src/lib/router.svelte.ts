// Addresses of pages: which page is shown, of which project, and what it shows.

export interface Place {
  page: string;
  /** What comes after the page's name: the id of a job, a part of the page. */
  rest: string;
  project: string | null;
  query: URLSearchParams;
}

const ALONE = new Set(['enter', 'sign-in', 'invite', 'oidc', 'account', 'admin', 'reference']);

/** What an address means. Pages of a project are at /p/PROJECT/PAGE/REST, the others at /PAGE/REST. */
export function parse(path: string, search = ''): Place {
  const parts = path.split('/').filter(Boolean).map(decoded);
  const query = new URLSearchParams(search);
  if (parts[0] === 'p' && parts[1] !== undefined) {
    return { page: parts[2] ?? 'overview', rest: parts.slice(3).join('/'), project: parts[1], query };
  }
  const page = parts[0] ?? '';
  if (page === '') return { page: 'home', rest: '', project: null, query };
  return { page: ALONE.has(page) ? page : 'unknown', rest: parts.slice(1).join('/'), project: null, query };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a page of a project. */
export function inProject(project: string, page: string, rest = '', query: Record<string, string> = {}): string {
  const text = new URLSearchParams(query).toString();
  const tail = rest ? `/${rest.split('/').map(encodeURIComponent).join('/')}` : '';
  return `/p/${encodeURIComponent(project)}/${page}${tail}${text ? `?${text}` : ''}`;
}

/** The address of the page of a next step, as `datasets/releases?new=1`. */
export function stepAddress(project: string, page: string): string {
  const [name, ...rest] = page.split('/');
  return [inProject(project, name ?? ''), ...rest].join('/');
}

class Router {
  place = $state.raw<Place>(parse('/'));

  start(): void {
    this.place = parse(location.pathname, location.search);
    addEventListener('popstate', () => {
      this.place = parse(location.pathname, location.search);
    });
    document.addEventListener('click', (event) => {
      const link = (event.target as Element | null)?.closest?.('a[href]');
      if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute('download')) return;
      if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      if (link.origin !== location.origin || link.pathname.startsWith('/api/')) return;
      event.preventDefault();
      this.go(link.pathname + link.search);
    });
  }

  /** Show a page; `replace` where going back is not to come here again, as after each letter of a search. */
  go(to: string, replace = false): void {
    history[replace ? 'replaceState' : 'pushState'](null, '', to);
    const before = this.place;
    this.place = parse(location.pathname, location.search);
    if (!replace && before.page !== this.place.page) scrollTo(0, 0);
  }

  /** Change what the page shows, and keep the rest: null takes a parameter away. */
  set(changes: Record<string, string | readonly string[] | null>, replace = false): void {
    const query = new URLSearchParams(this.place.query);
    for (const [name, value] of Object.entries(changes)) {
      query.delete(name);
      for (const each of value === null ? [] : [value].flat()) if (each !== '') query.append(name, each);
    }
    const text = query.toString();
    this.go(location.pathname + (text ? `?${text}` : ''), replace);
  }
}

export const router = new Router();
