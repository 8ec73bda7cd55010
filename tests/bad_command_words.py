"""A seeded generator of bad words for commands: trainings, versions of models, decisions by hand, accounts, servers."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.bad_inputs import ODD_NUMBERS, address, name, odd_text, rule, yaml_value

Words = tuple[str, ...]


def _number(rng: random.Random) -> str:
    return rng.choice((*ODD_NUMBERS, "1", "3", "0.5", "640", "x", ""))


def _shares(rng: random.Random) -> str:
    parts = (f"{rng.choice(('train', 'val', 'test', 'x', '', odd_text(rng)))}={_number(rng)}" for _ in range(3))
    return rng.choice(("train=0.8,val=0.1,test=0.1", "train=1", "train=0.5,val=0.5,val=0.5", ",".join(parts), "=,="))


def reference(rng: random.Random) -> str:
    """Return what is hardly a version of a model, `NAME@VERSION` or `NAME@ALIAS`."""
    named = rng.choice(("yard", "yard", "", "nothing", name(rng)))
    which = rng.choice((*ODD_NUMBERS, "champion", "1", "2", "0", "01", "", "@1", odd_text(rng)))
    return rng.choice(("", "models:", "models:models:", "MODELS:")) + rng.choice((f"{named}@{which}", named, "@"))


def training(rng: random.Random) -> Words:
    """Return options of `winnow train --dry-run` next to a release and a name, of which most are wrong."""
    makes = {
        "--release": lambda: rng.choice(("v1", name(rng))),
        "--name": lambda: rng.choice(("yard", "a@b", "a:b", name(rng))),
        "--model": lambda: rng.choice(
            ("torchvision:", "torchvision:nothing", "torchvision:../x", reference(rng), address(rng), odd_text(rng))
        ),
        "--epochs": lambda: _number(rng),
        "--size": lambda: _number(rng),
        "--batch": lambda: _number(rng),
        "--seed": lambda: _number(rng),
        "--augment": lambda: rng.choice(("standard", "none", odd_text(rng))),
        "--learning-rate": lambda: _number(rng),
        "--patience": lambda: _number(rng),
        "--minutes": lambda: _number(rng),
        "--classes": lambda: rng.choice(("red", ",", "red,red", f"red,{odd_text(rng)}", odd_text(rng))),
        "--where": lambda: rule(rng),
        "--pseudo": lambda: _number(rng),
        "--split": lambda: _shares(rng),
        "--split-by": lambda: rng.choice(("auto", "time", odd_text(rng))),
        "--split-seed": lambda: _number(rng),
        "--note": lambda: odd_text(rng),
        "--threads": lambda: _number(rng),
    }
    chosen = rng.sample(sorted(makes), rng.choice((1, 1, 2, 3)))
    given = {"--release": "v1", "--name": "yard", **{option: makes[option]() for option in chosen}}
    return ("train", "--dry-run", *(f"{option}={value}" for option, value in given.items()))


def model_command(rng: random.Random) -> Words:
    """Return a command on versions of models that are not there, or a run that refers to one."""
    alias = f"--alias={rng.choice(('champion', '1', 'a@b', odd_text(rng)))}"
    reason = f"--reason={odd_text(rng)}"
    return rng.choice(
        (
            ("models", "promote", alias, reason, f"--expect={_number(rng)}", "--", reference(rng)),
            ("models", "promote", alias, "--", reference(rng)),
            ("models", "rollback", alias, reason, "--", name(rng)),
            ("models", "history", alias, "--", name(rng)),
            ("models", "versions", "--", name(rng)),
        )
    )


def decision(rng: random.Random) -> Words:
    """Return a decision by hand on frames."""
    frame = rng.choice((_number(rng), f"{_number(rng)}-{_number(rng)}", "0-", "-", "5-1", odd_text(rng)))
    chosen = rng.choice(
        (
            (f"--stream={rng.choice(('yard/gate', name(rng)))}", f"--frame={frame}"),
            (f"--frame={frame}",),
            (f"--where={rule(rng)}",),
            (f"--where={rule(rng)}", f"--stream={name(rng)}"),
            (),
        )
    )
    more = rng.sample((f"--note={odd_text(rng)}", f"--by={odd_text(rng)}"), rng.randrange(3))
    if rng.random() < 0.3:
        return ("overrides", "remove", *chosen, *(word for word in more if word.startswith("--by")))
    return ("overrides", "set", *chosen, *more, "--", rng.choice(("keep", "drop", odd_text(rng))))


def account_command(rng: random.Random, people: Sequence[str]) -> Words:
    """Return a command on accounts, keys or projects; passwords come from standard input."""
    who = rng.choice((*people, name(rng), odd_text(rng)))
    scopes = (f"--scope={rng.choice(('read', 'submit', odd_text(rng)))}" for _ in range(rng.randrange(1, 4)))
    return rng.choice(
        (
            ("user", "add", "--password-stdin", f"--display-name={odd_text(rng)}", "--", who),
            ("user", "disable", "--", who),
            ("user", "reset", "--password-stdin", "--", who),
            ("key", "add", f"--user={who}", *scopes, f"--days={_number(rng)}", "--", name(rng)),
            ("key", "add", f"--user={who}", *scopes, f"--project={name(rng)}", "--", name(rng)),
            ("key", "revoke", "--", odd_text(rng)),
            ("project", "members", f"--add={who}", f"--role={rng.choice(('viewer', odd_text(rng)))}", "--", name(rng)),
            ("project", "members", f"--remove={who}", "--", rng.choice(("tables", name(rng)))),
        )
    )


def provider_text(rng: random.Random) -> str:
    """Return a file of an OpenID provider in which something is wrong."""
    values = {
        "issuer": rng.choice(("http://127.0.0.1:1", address(rng), yaml_value(rng))),
        "client_id": rng.choice(("winnow", yaml_value(rng))),
        "name": yaml_value(rng),
        "new_accounts": rng.choice(("anybody", yaml_value(rng))),
        "claims": rng.choice((f"{{groups: {yaml_value(rng)}}}", yaml_value(rng))),
        "scopes": rng.choice(("[profile]", f"[openid, {yaml_value(rng)}]", yaml_value(rng))),
        "secret_file": rng.choice(("/dev/zero", "..", "secret.txt", yaml_value(rng))),
        "secret": yaml_value(rng),
        odd_text(rng).replace(":", ""): yaml_value(rng),
    }
    # Without scopes of openid it is never right, and no server starts.
    chosen = [*rng.sample(sorted(values), rng.randrange(1, 5))]
    return "\n".join(f"{key}: {values[key]}" for key in chosen) + "\nscopes: [profile]\n" * (rng.random() < 0.7)


def server_words(rng: random.Random, missing: str) -> Words:
    """Return options of `winnow serve` of which at least one, a certificate that is not there, is refused."""
    makes = {
        "--host": lambda: rng.choice(("0.0.0.0", "::", "256.1.1.1", "a b", odd_text(rng))),
        "--port": lambda: _number(rng),
        "--public-url": lambda: address(rng),
        "--trusted-proxy": lambda: rng.choice(("10.0.0.0/8", "10.0.0.1/8", "x/y", "::/200", odd_text(rng))),
        "--tls-key": lambda: odd_text(rng),
        "--database": lambda: rng.choice(("sqlite://", "mysql://x/y", "postgresql://", address(rng), odd_text(rng))),
    }
    chosen = rng.sample(sorted(makes), rng.choice((1, 1, 2, 3)))
    return ("serve", "--no-pages", f"--tls-cert={missing}", *(f"{option}={makes[option]()}" for option in chosen))
