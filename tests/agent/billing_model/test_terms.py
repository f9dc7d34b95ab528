"""The keys that all billing sources have: what is read from them, and names that clash."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agent.billing_model.terms import HookTerms, SourceTerms, source_keys, terms_of
from agent.config import ConfigError, parse_untrusted
from agent.config_reader import ConfigReader
from agent.connectors.spec import ConnectorSpec

AGENT = '[agent]\nname = "hill"\n'
OPEN = 'secret = ""\n'
"""A system that asks for no credential says so."""


def spec(section: str) -> ConnectorSpec[tuple[SourceTerms, ...]]:
    """Return a connector whose sections have the common keys only."""

    def parse(reader: ConfigReader) -> tuple[SourceTerms, ...]:
        found = []
        for name, table in reader.named(section):
            before = len(reader.problems)
            values = reader.section(f"{section}.NAME", f"{section}.{name}", table)
            if len(reader.problems) == before:
                found.append(terms_of(f"{section}/{name}", values))
        return tuple(found)

    def make(*_: object) -> Any:
        raise NotImplementedError

    return ConnectorSpec(
        name=section,
        keys=source_keys(
            f"{section}.NAME",
            secret="key",
            open_too=True,
            accounts=True,
            payments=True,
            hook="By a signature.",
            hook_secret="key",
        ),
        parse=parse,
        secrets=lambda terms: {name for one in terms for name in one.secrets},
        make=make,
        docs="",
        roles=(),
        sources=lambda terms: terms,
    )


def read(text: str) -> tuple[SourceTerms, ...]:
    config = parse_untrusted((AGENT + text).encode(), Path("/a.toml"), {}, [spec("bank"), spec("till")])
    return config.sources


def test_what_is_read() -> None:
    (one,) = read(
        '[hooks]\nlisten = "127.0.0.1:0"\n'
        '[bank.main]\nsecret = "a/key"\ntimezone = "Africa/Nairobi"\nevery_s = 60\npayments_every_s = 5\n'
        'max_age_s = 100\nhook = true\nhook_from = ["192.0.2.0/24"]\nhook_secret = "b"\nhook_secret_before = "c"\n'
    )
    hook = HookTerms("b", "c", (ip_network("192.0.2.0/24"),))
    assert one == SourceTerms("bank/main", 60, 5, 100, ZoneInfo("Africa/Nairobi"), "a/key", hook)
    assert one.name == "main"
    assert one.secrets == {"a/key", "b", "c"}


def test_defaults() -> None:
    assert read('[bank.main]\nsecret = ""\n') == (SourceTerms("bank/main", 900, 60, 7200, None, "", None),)


def test_a_source_that_is_not_called_uses_no_secret_for_it() -> None:
    (one,) = read('[bank.main]\nsecret = ""\nhook_secret = "b"\n')
    assert one.hook is None
    assert one.secrets == frozenset()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[bank.a]\n", "/a.toml bank.a.secret: missing; expected the name of a secret in the vault"),
        (f"[bank.file]\n{OPEN}", "/a.toml bank.file: expected another NAME, `file` is the source of [billing] file"),
        (
            f"[bank.import]\n{OPEN}",
            "/a.toml bank.import: expected another NAME, `import` is the source of what was imported",
        ),
        (
            f"[bank.a]\n{OPEN}[till.a]\n{OPEN}",
            "/a.toml till.a: expected each NAME of a billing source once, there is a [bank.a]",
        ),
        (f'[bank.a]\n{OPEN}hook_from = ["10.0.0.1/8"]\n', "/a.toml bank.a.hook_from: expected a list of IP prefixes"),
        (f"[bank.a]\n{OPEN}hook = true\n", "/a.toml bank.a.hook: expected [hooks] listen, where its system calls"),
        (f'[bank.a]\n{OPEN}timezone = "Mars"\n', "/a.toml bank.a.timezone: expected an IANA time zone"),
    ],
)
def test_mistakes(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    (told,) = caught.value.problems
    assert told.startswith(problem)
