"""Signing in with a real provider: who gets in, who is linked, and who is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.accounts import audit, identities, invitations, people
from tests.accounts import TESTS, add_person, begin_session
from tests.jobs.web.oidc_tries import begin, finish, linked, read, signed_in
from tests.jobs.web.served import API, PROJECT, Site, served
from tests.openid_provider import SECRET, ProviderProcess

pytestmark = pytest.mark.process


def test_who_is_linked_signs_in_and_gets_a_new_session(openid_site: Site, openid: ProviderProcess) -> None:
    linked(openid_site, "known")
    with openid_site.browser("planted-session-of-somebody-else") as client:
        address = begin(client)
        assert "code_challenge_method=S256" in address
        back = openid.way_back(address, "known")
        answer = finish(client, back)
        assert answer.status_code == 200, answer.text
        assert answer.json()["user"]["name"] == "viewer-of-crossing"
        token = client.headers["cookie"].partition("winnow=")[2].partition(";")[0]
        assert token not in {"", "planted-session-of-somebody-else"}
        assert client.get(f"{API}/me").status_code == 200
        # The cookie of the try is deleted, and the code holds once.
        assert "winnow-oidc" not in client.headers["cookie"]
        assert finish(client, back).status_code == 401
    token_request = openid.seen()["token"]
    assert "code_verifier" in token_request["form"]
    assert "client_secret" not in token_request["form"]


def test_nobody_is_found_by_name_or_address(openid_site: Site, openid: ProviderProcess) -> None:
    """A provider that claims the name and the e-mail address of an admin signs nobody in."""
    openid.control(claims={"email": "root", "email_verified": True, "preferred_username": "root", "name": "root"})
    answer = signed_in(openid_site, openid, "root")
    assert answer.status_code == 401
    (line,) = answer.json()["lines"]
    assert line.startswith("nobody here has this identity of Harbour: open your invitation")
    assert "set-cookie" not in answer.headers or "winnow=" not in answer.headers["set-cookie"]


def test_somebody_who_is_signed_in_links_an_identity_and_unlinks_it(openid_site: Site, openid: ProviderProcess) -> None:
    with openid_site.client("reviewer") as client:
        back = openid.way_back(begin(client, "link"), "reviewer-there")
        assert finish(client, back).json() == {"linked": True}
        (found,) = client.get(f"{API}/identities").json()["identities"]
        assert (found["issuer"], found["subject"]) == (openid.issuer, "reviewer-there")
        assert signed_in(openid_site, openid, "reviewer-there").json()["user"]["name"] == "reviewer-of-crossing"
        # Nobody else takes it, or ends it.
        with openid_site.client("annotator") as other:
            taken = finish(other, openid.way_back(begin(other, "link"), "reviewer-there"))
            assert taken.status_code == 409, taken.text
            assert other.delete(f"{API}/identities/{found['identity_id']}").status_code == 404
        assert client.delete(f"{API}/identities/{found['identity_id']}").status_code == 204
    assert signed_in(openid_site, openid, "reviewer-there").status_code == 401
    with openid_site.database.read() as connection:
        actions = [entry["action"] for entry in audit.entries(connection, user="reviewer-of-crossing")]
    assert {"identity.link", "identity.unlink"} <= set(actions)


def test_a_link_belongs_to_the_session_that_began_it(openid_site: Site, openid: ProviderProcess) -> None:
    with openid_site.client("annotator") as client:
        back = openid.way_back(begin(client, "link"), "somebody")
        cookie = client.headers["cookie"].partition("winnow-oidc=")[2]
        # The same browser, in which another person has signed in meanwhile.
        token = begin_session(openid_site.database, openid_site.people["root"])
        with openid_site.browser(token) as other:
            other.headers["cookie"] += f"; winnow-oidc={cookie}"
            assert finish(other, back).status_code == 401
    with openid_site.browser() as nobody:
        assert nobody.post(f"{API}/session/oidc", json={"purpose": "link"}).status_code == 401
    with openid_site.database.read() as connection:
        assert identities.of_person(connection, openid_site.people["root"].user_id) == []


def test_the_account_of_the_terminal_is_linked_with_nobody(openid_site: Site) -> None:
    token = begin_session(openid_site.database, openid_site.people["root"], is_local=True)
    with openid_site.browser(token) as client:
        assert client.post(f"{API}/session/oidc", json={"purpose": "link"}).status_code == 403


def test_who_is_invited_needs_no_password(openid_site: Site, openid: ProviderProcess) -> None:
    _, token = openid_site.database.write(lambda c: invitations.invite(c, TESTS, PROJECT, "annotator"))
    with openid_site.browser() as client:
        chosen = {"token": token, "name": "guest", "display_name": "A Guest"}
        back = openid.way_back(begin(client, "invitation", invitation=chosen), "guest")
        answer = finish(client, back)
        assert answer.status_code == 200, answer.text
        assert answer.json()["projects"] == [{"project": PROJECT, "role": "annotator"}]
        # It is the only way in, and so it stays.
        (found,) = client.get(f"{API}/identities").json()["identities"]
        assert client.delete(f"{API}/identities/{found['identity_id']}").status_code == 409
    assert signed_in(openid_site, openid, "guest").json()["user"]["name"] == "guest"
    with openid_site.browser() as client:
        again = client.post(f"{API}/session/oidc", json={"purpose": "invitation", "invitation": chosen})
        assert again.status_code == 401
    _, second = openid_site.database.write(lambda c: invitations.invite(c, TESTS, is_admin=True))
    with openid_site.browser() as client:
        # Whose identity is known gets no second account, and the invitation is left.
        other = {"token": second, "name": "guest-two"}
        back = openid.way_back(begin(client, "invitation", invitation=other), "guest")
        assert finish(client, back).status_code == 409
        # A try for one invitation accepts no other one.
        _, third = openid_site.database.write(lambda c: invitations.invite(c, TESTS))
        back = openid.way_back(begin(client, "invitation", invitation={**other, "token": third}), "guest-three")
        before = client.headers["cookie"]
        assert begin(client, "invitation", invitation=other)
        ours, theirs = (_parts(cookie) for cookie in (before, client.headers["cookie"]))
        client.headers["cookie"] = f"winnow-oidc={ours[0]}.{ours[1]}.{theirs[2]}"
        assert finish(client, back).status_code == 401
    with openid_site.database.read() as connection:
        assert invitations.find(connection, second, "invitation").used_ns is None


def _parts(cookie: str) -> list[str]:
    return cookie.partition("winnow-oidc=")[2].partition(";")[0].split(".")


def test_the_way_back_leads_to_where_somebody_was(openid_site: Site, openid: ProviderProcess) -> None:
    linked(openid_site, "known")
    for before, after in (
        ("/p/yard/frames?reason=dark", "/p/yard/frames?reason=dark"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("", "/"),
    ):
        with openid_site.browser() as client:
            back = openid.way_back(begin(client, before=before), "known")
            assert finish(client, back).json()["before"] == after


def test_a_disabled_account_signs_in_by_no_way(openid_site: Site, openid: ProviderProcess) -> None:
    person = add_person(openid_site.database, "leaver", has_password=False)
    openid_site.database.write(lambda c: identities.link(c, TESTS, person.user_id, openid.issuer, "leaver"))
    assert signed_in(openid_site, openid, "leaver").status_code == 200
    openid_site.database.write(lambda c: people.change(c, TESTS, person.user_id, disabled=True))
    assert signed_in(openid_site, openid, "leaver").status_code == 401


def test_accounts_without_rights_for_anybody_where_that_is_set(tmp_path: Path, openid: ProviderProcess) -> None:
    oidc = read(tmp_path, openid, new_accounts="anybody", claims='{"hd": "harbour.example", "groups": "crew"}')
    with served(tmp_path / "root", oidc=oidc) as site:
        openid.control(claims={"hd": "harbour.example", "groups": ["crew", "cooks"], "preferred_username": "root"})
        answer = signed_in(site, openid, "new-one")
        assert answer.status_code == 200, answer.text
        user = answer.json()["user"]
        # Not the admin of that name, and nobody who looks like one.
        assert user["name"].startswith("root-")
        assert (user["is_admin"], answer.json()["projects"]) == (False, [])
        assert signed_in(site, openid, "new-one").json()["user"] == user
        for claims in ({"hd": "other.example", "groups": ["crew"]}, {"hd": "harbour.example"}, {"groups": "crew"}):
            openid.control(claims=claims)
            refused = signed_in(site, openid, "new-two")
            assert refused.status_code == 401
            assert "does not say of you what this server asks of everybody" in refused.json()["lines"][0]


def test_a_way_back_without_its_try_is_refused(openid_site: Site, openid: ProviderProcess) -> None:
    """Somebody who sends another one the address at the end of their own try (login CSRF)."""
    linked(openid_site, "known")
    with openid_site.browser() as attacker, openid_site.browser() as victim:
        back = openid.way_back(begin(attacker), "known")
        assert finish(victim, back).status_code == 401
        begin(victim)
        assert finish(victim, back).status_code == 401
        for state in ("", "sign_in", "link." + back["state"].partition(".")[2], back["state"][:-1] + "é"):
            assert finish(attacker, {**back, "state": state}).status_code in {401, 422}
        answer = finish(attacker, back)
        assert answer.status_code == 200, answer.text


def test_without_a_provider_there_is_none(shared: Site) -> None:
    with shared.browser() as client:
        assert client.get(f"{API}/session/ways").json() == {"password": True, "oidc": None}
        assert client.post(f"{API}/session/oidc", json={"purpose": "sign_in"}).status_code == 404


def test_secrets_are_in_nothing_that_is_shown(openid_site: Site, openid: ProviderProcess) -> None:
    assert SECRET not in repr(openid_site.settings)
    assert openid_site.settings.oidc is not None
    assert SECRET not in openid_site.settings.oidc.model_dump_json()
    for data in (openid_site.settings.root or Path()).parent.rglob("*"):
        if data.is_file() and data.name != "secret":
            assert SECRET.encode() not in data.read_bytes(), data
