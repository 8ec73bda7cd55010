"""The keys of the editor that somebody changed, on any machine that they sign in at."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, model_validator

from jobs.accounts import keymaps
from jobs.web.identity import Accounts, Me
from jobs.web.routes.bodies import Body

router = APIRouter(tags=["session"])

_MOST = 200
_Command = Annotated[str, Field(pattern=r"^[A-Za-z_]{1,40}$")]
_Chord = Annotated[str, Field(min_length=1, max_length=60)]
_Chords = Annotated[tuple[_Chord, ...], Field(min_length=1, max_length=5)]


class Keymap(Body):
    """Keys by command, as the pages name both; commands that are not named have the keys of the table."""

    keys: Annotated[
        dict[_Command, Annotated[tuple[_Chord, ...], Field(min_length=1, max_length=5)]], Field(max_length=_MOST)
    ]

    @model_validator(mode="after")
    def _names_each_key_once(self) -> Keymap:
        all_keys = [key for keys in self.keys.values() for key in keys]
        if twice := sorted({key for key in all_keys if all_keys.count(key) > 1}):
            raise ValueError(f"expected each key for one command, found {twice[0]!r} for several")
        return self


@router.get("/me/keymap", name="get_keymap")
def get_keymap(who: Me, database: Accounts) -> Any:
    """Return the keys that one changed; `keys` is null where one never did."""
    with database.read() as connection:
        return {"keys": keymaps.read(connection, who.user_id)}


@router.put("/me/keymap", name="put_keymap")
def put_keymap(who: Me, database: Accounts, body: Keymap) -> Any:
    """Replace the keys that one changed."""
    database.write(lambda c: keymaps.store(c, who.user_id, body.keys))
    return {"keys": body.keys}
