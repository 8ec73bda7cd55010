import { describe, expect, it } from 'vitest';
import { curlOf, exampleOf, routesOf, typeOf, type Document } from './openapi';

const DOCUMENT: Document = {
  paths: {
    '/api/v1/health': { get: { operationId: 'health', tags: ['server'], description: ' Up. ', 'x-winnow-role': 'nobody', 'x-winnow-scope': 'read' } },
    '/api/v1/projects/{project}/frame': {
      get: {
        operationId: 'frame', tags: ['frames'], 'x-winnow-role': 'viewer', 'x-winnow-scope': 'read',
        parameters: [
          { name: 'project', in: 'path', required: true, schema: { type: 'string' } },
          { name: 'stream', in: 'query', required: true, schema: { type: 'string' } },
          { name: 'w', in: 'query', schema: { type: 'integer' } },
        ],
      },
    },
    '/api/v1/session': {
      post: {
        operationId: 'sign_in', tags: ['server'], 'x-winnow-role': 'nobody',
        requestBody: { content: { 'application/json': { schema: { $ref: '#/components/schemas/SignIn' } } } },
      },
    },
  },
  components: {
    schemas: {
      SignIn: {
        type: 'object', required: ['name', 'tries'],
        properties: { name: { type: 'string' }, tries: { type: 'integer', minimum: 1, maximum: 5 }, note: { anyOf: [{ type: 'string' }, { type: 'null' }] } },
      },
    },
  },
};

describe('the document of the API', () => {
  it('is a list of routes, those of one tag together', () => {
    const routes = routesOf(DOCUMENT);
    expect(routes.map((route) => `${route.method} ${route.id}`)).toEqual(['GET health', 'POST sign_in', 'GET frame']);
    expect(routes[0]).toMatchObject({ text: 'Up.', role: 'nobody', scope: 'read', body: null });
    expect(routes[1]?.scope).toBeNull();
  });
  it('has types in words and values to begin from', () => {
    const schema = { $ref: '#/components/schemas/SignIn' };
    expect(typeOf(DOCUMENT, schema)).toBe('{name: string; tries: integer from 1 to 5; note: string or null}');
    expect(exampleOf(DOCUMENT, schema)).toEqual({ name: '…', tries: 1 });
    expect(typeOf(DOCUMENT, { type: 'array', items: { enum: ['a', 'b'] } })).toBe('list of "a", "b"');
  });
  it('gives a command for each route', () => {
    const [, signIn, frame] = routesOf(DOCUMENT);
    expect(frame && curlOf(DOCUMENT, frame, 'http://h', 'my yard')).toBe(
      `curl -H "Authorization: Bearer $WINNOW_KEY" 'http://h/api/v1/projects/my%20yard/frame?stream=STREAM'`,
    );
    expect(signIn && curlOf(DOCUMENT, signIn, 'http://h', 'p')).toContain(`-X POST -H "Authorization: Bearer $WINNOW_KEY" -H "Content-Type: application/json" -d '{"name":"…","tries":1}'`);
  });
});
