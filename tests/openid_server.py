"""The server of the tests' OpenID provider: authlib's, on Flask, with one client and a form to sign in.

`POST /control` has it do wrong things: send other claims, tokens that others signed, descriptions that are not right.
"""

# ruff: noqa: ARG002 - signatures are those of the library

from __future__ import annotations

import hmac
import json
import os
import re
import sys
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from flask import Blueprint, Flask, Response, jsonify, redirect, request
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from joserfc.util import urlsafe_b64encode
from werkzeug.serving import make_server

from tests.openid_provider import CLIENT, SECRET

_FORM = """<!doctype html><html lang="en"><title>Provider</title><form method="post">
<label>Who are you <input name="subject" required></label> <button>Continue</button></form></html>"""


@dataclass
class Memory:
    """What the provider knows: its keys, codes that were given out, and what it is to do wrong."""

    issuer: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    token_request: dict[str, Any] = field(default_factory=dict)


MEMORY = Memory()


class Client:
    """The only client."""

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str | None:
        return None

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, uri: str) -> bool:
        return re.fullmatch(r"http://(127\.0\.0\.1|localhost):\d+/oidc", uri) is not None

    def check_client_secret(self, secret: str) -> bool:
        return secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return endpoint != "token" or method == MEMORY.wrong.get("auth_method", "client_secret_basic")

    def check_response_type(self, kind: str) -> bool:
        return kind == "code"

    def check_grant_type(self, kind: str) -> bool:
        return kind == "authorization_code"


class Code(SimpleNamespace):
    """A code that was given to a browser."""

    def get_redirect_uri(self) -> str:
        return str(self.redirect_uri)

    def get_scope(self) -> str:
        return str(self.scope)

    def get_nonce(self) -> str | None:
        found: str | None = self.nonce
        return found

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class Grant(AuthorizationCodeGrant):  # type: ignore[misc]
    """Codes for tokens."""

    TOKEN_ENDPOINT_AUTH_METHODS: ClassVar = ["client_secret_basic", "client_secret_post"]

    def save_authorization_code(self, code: str, request: Any) -> None:
        payload = request.payload
        names = ("redirect_uri", "scope", "nonce", "code_challenge", "code_challenge_method")
        MEMORY.codes[code] = Code(code=code, user=request.user, **{name: payload.data.get(name) for name in names})

    def query_authorization_code(self, code: str, client: Any) -> Any:
        return MEMORY.codes.get(code)

    def delete_authorization_code(self, authorization_code: Any) -> None:
        MEMORY.codes.pop(authorization_code.code, None)

    def authenticate_user(self, authorization_code: Any) -> Any:
        return authorization_code.user


class Identity(OpenIDCode):  # type: ignore[misc]
    """Tokens that say who somebody is."""

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        return any(code.nonce == nonce for code in MEMORY.codes.values())

    def resolve_client_private_key(self, client: Any) -> Any:
        return MEMORY.keys["first"]

    def get_client_algorithm(self, client: Any) -> str:
        return "RS256"

    def get_encode_header(self, client: Any) -> dict[str, str]:
        return {"alg": "RS256", "kid": "first"}

    def get_client_claims(self, client: Any) -> dict[str, Any]:
        now = int(time.time())
        return {"iss": MEMORY.issuer, "aud": [CLIENT], "iat": now, "exp": now + 300}

    def generate_user_info(self, user: str, scope: str) -> Any:
        return UserInfo(sub=user, preferred_username=user, name=f"{user.title()} of the provider")

    def encode_id_token(self, token: Any, request: Any) -> str:
        right: str = super().encode_id_token(token, request)
        if not MEMORY.wrong.keys() & {"claims", "signer"}:
            return right
        claims = {**jwt.decode(right, MEMORY.keys["first"], ["RS256"]).claims, **MEMORY.wrong.get("claims", {})}
        claims = {name: value for name, value in claims.items() if value is not None}
        return _signed(claims, MEMORY.wrong.get("signer", "first"))


def _signed(claims: dict[str, Any], signer: str) -> str:
    """Return a token that somebody has signed: a key of the provider, or what must not be taken for one."""
    if signer == "nobody":
        return f"{_packed({'alg': 'none', 'typ': 'JWT'}).decode()}.{_packed(claims).decode()}."
    if signer == "secret":
        return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET), ["HS256"])
    if signer == "public key as secret":
        # The library itself makes no such token.
        signed = b".".join([_packed({"alg": "HS256", "kid": "first"}), _packed(claims)])
        code = hmac.digest(MEMORY.keys["first"].as_pem(private=False), signed, "sha256")
        return b".".join([signed, urlsafe_b64encode(code)]).decode()
    key = MEMORY.keys[signer]
    algorithm = "ES256" if signer == "second" else "RS256"
    return jwt.encode({"alg": algorithm, "kid": str(key.kid)}, claims, key, [algorithm])


def _packed(part: dict[str, Any]) -> bytes:
    return urlsafe_b64encode(json.dumps(part).encode())


PAGES = Blueprint("provider", __name__)
SERVER = AuthorizationServer()


@PAGES.before_request
def count() -> None:
    MEMORY.counts[request.path] = MEMORY.counts.get(request.path, 0) + 1


@PAGES.get("/.well-known/openid-configuration")
def describe() -> Any:
    issuer, wrong = MEMORY.issuer, MEMORY.wrong
    if "redirect" in wrong:
        return redirect(wrong["redirect"])
    if "bytes" in wrong:
        return Response(b" " * wrong["bytes"], content_type="application/json")
    return jsonify(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [wrong.get("auth_method", "client_secret_basic")],
            "authorization_response_iss_parameter_supported": wrong.get("names_itself", False),
            **wrong.get("description", {}),
        }
    )


@PAGES.get("/keys")
def published() -> Any:
    # A kind that nobody knows, and a secret one, are no keys to check signatures with.
    odd = [{"kty": "QUANTUM", "kid": "first"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "first"}]
    shown = [MEMORY.keys[name].as_dict(private=False) for name in MEMORY.wrong.get("published", ["first"])]
    return jsonify({"keys": [*odd, *shown]})


@PAGES.route("/authorize", methods=["GET", "POST"])
def authorize() -> Any:
    if request.method == "GET":
        return _FORM
    subject = request.form["subject"]
    grant = SERVER.get_consent_grant(end_user=subject)
    answer = SERVER.create_authorization_response(grant_user=subject, grant=grant)
    if "iss" in MEMORY.wrong:
        answer.headers["location"] += f"&iss={MEMORY.wrong['iss']}"
    return answer


@PAGES.post("/token")
def token() -> Any:
    MEMORY.token_request = {"form": request.form.to_dict(), "authorization": request.headers.get("authorization")}
    if "refuses" in MEMORY.wrong:
        return jsonify({"error": MEMORY.wrong["refuses"], "error_description": SECRET}), 400
    return SERVER.create_token_response()


@PAGES.post("/control")
def control() -> Any:
    MEMORY.wrong = request.get_json()
    return ""


@PAGES.get("/seen")
def seen() -> Any:
    return jsonify({"counts": MEMORY.counts, "token": MEMORY.token_request})


def main() -> None:
    """Answer until it is killed; its address is its first line."""
    # Without it, the library refuses http, also on loopback.
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    about: Any = {"use": "sig", "alg": "RS256", "kid": "first"}
    elliptic: Any = {**about, "alg": "ES256", "kid": "second"}
    MEMORY.keys = {
        "first": RSAKey.generate_key(2048, about, private=True),
        "second": ECKey.generate_key("P-256", elliptic, private=True),
        "foreign": RSAKey.generate_key(2048, about, private=True),
    }
    app = Flask("provider")
    SERVER.init_app(app, lambda found: Client() if found == CLIENT else None, lambda *_: None)
    SERVER.register_grant(Grant, [CodeChallenge(required=True), Identity(require_nonce=True)])
    app.register_blueprint(PAGES)
    listening = make_server("127.0.0.1", 0, app, threaded=True)
    MEMORY.issuer = f"http://127.0.0.1:{listening.server_port}"
    sys.stdout.write(f"{MEMORY.issuer}\n")
    sys.stdout.flush()
    listening.serve_forever()


if __name__ == "__main__":
    main()
