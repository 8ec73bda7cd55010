// The document of the API (OpenAPI 3.1), as its page shows it.

export interface Schema {
  $ref?: string;
  type?: string | readonly string[];
  format?: string;
  enum?: readonly unknown[];
  const?: unknown;
  anyOf?: readonly Schema[];
  allOf?: readonly Schema[];
  items?: Schema;
  prefixItems?: readonly Schema[];
  properties?: Readonly<Record<string, Schema>>;
  required?: readonly string[];
  additionalProperties?: boolean | Schema;
  minimum?: number;
  exclusiveMaximum?: number;
  maximum?: number;
  default?: unknown;
  description?: string;
}

interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema?: Schema;
}

interface Operation {
  operationId: string;
  tags?: readonly string[];
  description?: string;
  parameters?: readonly Parameter[];
  requestBody?: { content: Readonly<Record<string, { schema?: Schema }>> };
  'x-winnow-role': string;
  'x-winnow-scope'?: string;
}

export interface Document {
  paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  components?: { schemas?: Readonly<Record<string, Schema>> };
}

export interface Route {
  id: string;
  method: string;
  path: string;
  tag: string;
  text: string;
  role: string;
  /** The scope of keys that reach it; null for people in browsers alone. */
  scope: string | null;
  parameters: readonly Parameter[];
  body: Schema | null;
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** All routes, those of one tag together, in the order of the document. */
export function routesOf(document: Document): Route[] {
  const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
    METHODS.flatMap((method) => {
      const found = methods[method];
      if (!found) return [];
      return [{
        id: found.operationId,
        method: method.toUpperCase(),
        path,
        tag: found.tags?.[0] ?? 'other',
        text: (found.description ?? '').trim(),
        role: found['x-winnow-role'],
        scope: found['x-winnow-scope'] ?? null,
        parameters: (found.parameters ?? []).filter((each) => each.in !== 'cookie'),
        body: found.requestBody?.content['application/json']?.schema ?? null,
      }];
    }),
  );
  const tags = [...new Set(routes.map((route) => route.tag))];
  return tags.flatMap((tag) => routes.filter((route) => route.tag === tag));
}

/** The schema that a reference names, or the schema itself. */
export function resolved(document: Document, schema: Schema): Schema {
  const name = schema.$ref?.split('/').at(-1);
  return (name !== undefined && document.components?.schemas?.[name]) || schema;
}

/** A type in a few words, as `integer from 0 to 500, or null`. */
export function typeOf(document: Document, schema: Schema | undefined, depth = 0): string {
  if (!schema) return 'anything';
  const found = resolved(document, schema);
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((each) => JSON.stringify(each)).join(', ');
  const parts = found.anyOf ?? found.allOf;
  if (parts) return [...new Set(parts.map((each) => typeOf(document, each, depth)))].join(' or ');
  if (found.type === 'array') return `list of ${found.items ? typeOf(document, found.items, depth) : 'values'}`;
  if (found.properties && depth < 2) {
    return `{${Object.entries(found.properties).map(([name, each]) => `${name}: ${typeOf(document, each, depth + 1)}`).join('; ')}}`;
  }
  const limits = [
    found.minimum === undefined ? '' : ` from ${found.minimum}`,
    found.maximum === undefined ? '' : ` to ${found.maximum}`,
  ].join('');
  return `${[found.type ?? 'anything'].flat().join(' or ')}${limits}`;
}

/** A value that a schema allows, to begin from. */
export function exampleOf(document: Document, schema: Schema | undefined, depth = 0): unknown {
  if (!schema || depth > 4) return null;
  const found = resolved(document, schema);
  if (found.default !== undefined && found.default !== null) return found.default;
  if (found.const !== undefined) return found.const;
  if (found.enum) return found.enum[0];
  const parts = found.anyOf ?? found.allOf;
  if (parts) return exampleOf(document, parts[0], depth + 1);
  if (found.properties) {
    const needed = found.required ?? [];
    const shown = Object.entries(found.properties).filter(([name]) => needed.includes(name));
    return Object.fromEntries(shown.map(([name, each]) => [name, exampleOf(document, each, depth + 1)]));
  }
  const kind = [found.type ?? 'object'].flat()[0];
  const plain: Record<string, unknown> = { string: '…', integer: found.minimum ?? 0, number: found.minimum ?? 0, boolean: true, array: [] };
  return kind !== undefined && kind in plain ? plain[kind] : {};
}

/** The command that asks a route with a key; parameters that are required are filled in. */
export function curlOf(document: Document, route: Route, origin: string, project: string): string {
  const path = route.path.replace('{project}', encodeURIComponent(project)).replaceAll(/\{(\w+)\}/g, (_, name: string) => name.toUpperCase());
  const needed = route.parameters.filter((each) => each.in === 'query' && each.required);
  const query = needed.map((each) => `${each.name}=${each.name.toUpperCase()}`).join('&');
  const words = ['curl', ...(route.method === 'GET' ? [] : ['-X', route.method])];
  words.push('-H "Authorization: Bearer $WINNOW_KEY"');
  if (route.body) {
    words.push('-H "Content-Type: application/json"', `-d '${JSON.stringify(exampleOf(document, route.body)).replaceAll("'", "'\\''")}'`);
  }
  return `${words.join(' ')} '${origin}${path}${query ? `?${query}` : ''}'`;
}
