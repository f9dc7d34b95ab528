"""The sections of the ACS in the configuration file, and the baselines of the CPE that call it."""

from __future__ import annotations

import re
from typing import Any, Final

from agent.config_reader import ConfigReader, safe_name
from agent.config_schema import (
    PATH_OR_EMPTY,
    REQUIRED,
    SECRET_OR_EMPTY,
    USER_OR_EMPTY,
    YES_NO,
    Key,
    Kind,
    address,
    networks,
    or_empty,
    text,
    whole,
)
from agent.connectors.cwmp.schema import CwmpConfig
from agent.cpe_model.baseline import Baseline, is_misplaced
from agent.cpe_model.profiles import ProfileBook
from agent.cpe_model.tracked import LEAST_S
from agent.profile_folder import read_folder

_OUI: Final = re.compile(r"[0-9A-Fa-f]{6}", re.ASCII)
_HISTORY_MOST_S: Final = 604_800
_URL: Final = re.compile(r"https?://[A-Za-z0-9._:\[\]-]{1,253}", re.ASCII)


def _ouis(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and _OUI.fullmatch(item) for item in value):
        raise ValueError
    return tuple(item.upper() for item in value)


def _history(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not (value == 0 or LEAST_S <= value <= _HISTORY_MOST_S):
        raise ValueError
    return value


KEYS: Final[tuple[Key, ...]] = (
    Key(
        "cwmp",
        "listen",
        Kind("an IP address, or empty", or_empty(address)),
        "",
        "The address that CPE call; empty: there is no ACS.",
    ),
    Key("cwmp", "port", whole(0, 65_535), 7547, "Its port; 0: any that is free."),
    Key(
        "cwmp",
        "url",
        Kind("a URL such as https://acs.example.net:7547, or empty", or_empty(text(_URL))),
        "",
        "How CPE reach it, without a path: for firmware images.",
        "where it listens",
    ),
    Key(
        "cwmp",
        "path",
        Kind("a path that begins with /", text(re.compile(r"/[A-Za-z0-9._~/-]{0,99}"))),
        "/acs",
        "Where CPE post.",
    ),
    Key("cwmp", "certificate", PATH_OR_EMPTY, "", "Its certificate with those above it, PEM; empty: no TLS."),
    Key("cwmp", "key", PATH_OR_EMPTY, "", "The certificate's key, PEM; empty: it stands in the same file."),
    Key("cwmp", "client_ca", PATH_OR_EMPTY, "", "Who signs CPE's certificates, PEM; empty: none is asked for."),
    Key(
        "cwmp",
        "user",
        USER_OR_EMPTY,
        "",
        "The user that new CPE log in with; empty: only CPE with a password or certificate of their own get in.",
    ),
    Key("cwmp", "secret", SECRET_OR_EMPTY, "", "The secret that is that user's password."),
    Key(
        "cwmp",
        "request_user",
        USER_OR_EMPTY,
        "",
        "The user of connection requests to CPE that have none of their own yet; empty: these cannot be called.",
    ),
    Key("cwmp", "request_secret", SECRET_OR_EMPTY, "", "The secret that is its password."),
    Key("cwmp", "basic", YES_NO, False, "Take Basic without TLS too: passwords then pass in clear."),
    Key(
        "cwmp",
        "trust_shared",
        YES_NO,
        False,
        "Act on a CPE that had a password of its own and comes with the shared one again: whoever knows that can pose.",
    ),
    Key(
        "cwmp",
        "request_networks",
        Kind("a list of IP prefixes without host bits, such as 100.64.0.0/10", networks),
        [],
        "Where connection requests may go besides to the address that a CPE called from.",
    ),
    Key("cwmp", "stun_port", whole(0, 65_535), 0, "Port of the STUN server for CPE behind NAT; 0: none."),
    Key("cwmp", "files", PATH_OR_EMPTY, "", "Folder of firmware images; empty: none are served."),
    Key(
        "cwmp",
        "own_profiles",
        PATH_OR_EMPTY,
        "",
        "Folder of profiles of your own (*.toml), read at start and at SIGHUP; empty: those that are shipped alone.",
    ),
    Key("cwmp", "sessions", whole(1, 20_000), 200, "Sessions at once; more CPE are told to come again (503)."),
    Key(
        "cwmp",
        "history_s",
        Kind(f"0, or seconds from {LEAST_S} to 604,800", _history),
        0,
        "How often CPE that call in are read for `cpe history` (optical power, DSL margin, clients, uptime), seconds; "
        "0: never for that alone.",
    ),
    Key("cwmp", "wait_s", whole(300, 30 * 86_400), 7 * 86_400, "How long a change waits for its CPE, seconds."),
    Key(
        "baseline.NAME",
        "oui",
        Kind("a list of OUI of six hexadecimal digits", _ouis),
        [],
        "The OUI of the CPE that it is for; empty: any.",
    ),
    Key("baseline.NAME", "product_class", Kind("text", text(longest=64)), "", "What their ProductClass begins with."),
    Key("baseline.NAME", "rotate", YES_NO, True, "Give each credentials of its own, both ways."),
    Key(
        "baseline.NAME.values",
        "PARAMETER",
        Kind("text of at most 256 characters", text(longest=256)),
        REQUIRED,
        "What a name such as `inform.interval`, or a path, is to read; `{login}` is that of the service that it "
        "serves, `{spread}` a moment of its own. Alone, `{password}` is that login's password in RADIUS, "
        "`{secret:NAME}` a secret of `ispagent secret set`.",
        "none",
    ),
)


def parse(reader: ConfigReader) -> CwmpConfig:
    """Return the ACS and its baselines; the defaults, which are no ACS, where there are problems."""
    before = len(reader.problems)
    values = reader.section("cwmp", "cwmp", reader.top("cwmp"))
    if len(reader.problems) == before:
        for prefix in ("", "request_"):
            user, secret = values[f"{prefix}user"], values[f"{prefix}secret"]
            if bool(user) != bool(secret):
                lacks = f"{prefix}secret" if user else f"{prefix}user"
                reader.problem(f"cwmp.{lacks}", f"missing; {prefix}user and {prefix}secret are given together")
        if values["client_ca"] and not values["certificate"]:
            reader.problem("cwmp.certificate", "missing; certificates of CPE are asked for over TLS alone")
        if values["key"] and not values["certificate"]:
            reader.problem("cwmp.certificate", "missing; there is a key without it")
    profiles = ProfileBook()
    if values.get("own_profiles"):
        entries, problems = read_folder(reader.path_of(values["own_profiles"]))
        for problem in problems:
            reader.problem("cwmp.own_profiles", problem)
        profiles.take(entries)
    if len(reader.problems) > before:
        return CwmpConfig()
    for name in ("certificate", "key", "client_ca", "files", "own_profiles"):
        values[name] = reader.path_of(values[name]) if values[name] else None
    return CwmpConfig(**values, baselines=_baselines(reader), profiles=profiles)


def reload(old: CwmpConfig, new: CwmpConfig) -> None:
    """Have the running ACS know the profiles that were read anew; everything else needs a restart."""
    old.profiles.take(new.profiles.own)


def secrets(config: CwmpConfig) -> frozenset[str]:
    """Return the names of the passwords that CPE share, and of the secrets that baselines give."""
    shared = {config.secret, config.request_secret} - {""}
    return frozenset(shared).union(*(baseline.secrets for baseline in config.baselines))


def _baselines(reader: ConfigReader) -> tuple[Baseline, ...]:
    found: list[Baseline] = []
    for name, table in reader.named("baseline"):
        where, before = f"baseline.{name}", len(reader.problems)
        values = reader.section("baseline.NAME", where, table, ("values",))
        inner = f"{where}.values"
        values["values"] = reader.free("baseline.NAME.values", inner, reader.table(table, "values", inner))
        for parameter, value in values["values"].items():
            if is_misplaced(parameter, value):
                alone = "expected {password} or {secret:NAME} alone, NAME as in `ispagent secret set`, for no row"
                reader.problem(f"{inner}.{safe_name(parameter)}", alone)
        if len(reader.problems) == before:
            found.append(Baseline(name, **values))
    return tuple(found)
