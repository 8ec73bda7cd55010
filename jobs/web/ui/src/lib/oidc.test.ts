import { describe, expect, it } from 'vitest';
import { Problem } from './api';
import { pathOf, wayBack } from './oidc';

describe('what a provider sends back', () => {
  it('is for what its state begins with', () => {
    expect(wayBack('?code=abc&state=link.xyz&iss=https%3A%2F%2Fa.example')).toEqual({
      purpose: 'link',
      body: { code: 'abc', state: 'link.xyz', iss: 'https://a.example' },
    });
    expect(wayBack('?code=abc&state=sign_in.xyz').body).toEqual({ code: 'abc', state: 'sign_in.xyz' });
  });

  it.each([
    ['', 'incomplete'],
    ['?code=abc', 'incomplete'],
    ['?code=abc&state=other.x', 'incomplete'],
    ['?state=link.x', 'incomplete'],
    ['?error=access_denied', 'access_denied'],
    ['?error=%3Cb%3Ecall+us', 'no reason that can be shown'],
  ])('is refused: %s', (search, said) => {
    expect(() => wayBack(search)).toThrowError(Problem);
    expect(() => wayBack(search)).toThrowError(said);
  });
});

describe('where somebody was before', () => {
  it('is a path of this site', () => {
    expect(pathOf('/p/yard/frames?reason=x')).toBe('/p/yard/frames?reason=x');
    for (const odd of [undefined, '', '//evil.example', '/\\evil.example', 'https://evil.example', 'javascript:alert(1)']) {
      expect(pathOf(odd)).toBe('/');
    }
  });
});
