"""Profile files: one on top of another, the most specific first, and each mistake named."""

from __future__ import annotations

import re

import pytest

from agent.cpe_model import profile_files
from agent.cpe_model.profile_files import Match, ProfileEntry, ProfileError
from agent.cpe_model.profiles import BooleanStyle, Reports
from tests.builders.expect import present

BASE = """
root = "Device."
[quirks]
boolean = "true"
names_batch = 0
values_batch = 20
get_by_path = true
download_reports = "trusted"
firmware_types = ["1 Firmware Upgrade Image"]
unsafe = []
[parameters]
"software" = { path = "DeviceInfo.SoftwareVersion", kind = "string" }
"key" = { path = "Key", kind = "string", secret = true, writable = true }
"hosts" = { path = "Hosts.Host.", kind = "table" }
"hosts.{i}.mac" = { path = "Hosts.Host.{i}.PhysAddress", kind = "string" }
[diagnostics.ping]
object = "Ping."
complete = ["Complete"]
[diagnostics.ping.arguments]
host = { path = "Host", kind = "string" }
[diagnostics.ping.results]
success = { path = "SuccessCount", kind = "unsignedInt" }
"""
VENDOR = """
extends = "base"
[match]
oui = ["00AABB"]
product_class_prefix = ["AB"]
[quirks]
boolean = "1"
download_reports = "never"
unsafe = [{ method = "Reboot", why = "it burns" }, { method = "GetParameterValues", path = "Hosts.", why = "it hangs" }]
[parameters]
"software" = { path = "X_Software" }
"hosts.{i}.mac" = false
[diagnostics]
ping = false
"""
MODEL = """
extends = "vendor"
[match]
oui = ["00AABB"]
product_class = ["AB1"]
software_prefix = ["2."]
[quirks]
names_batch = 4
"""


def _read(**texts: str) -> dict[str, ProfileEntry]:
    return {entry.profile.name: entry for entry in profile_files.read(texts)}


def test_a_profile_is_what_it_extends_and_its_own() -> None:
    found = _read(base=BASE, vendor=VENDOR, model=MODEL)
    assert list(found) == ["base", "model", "vendor"]
    base, vendor, model = (found[name].profile for name in ("base", "vendor", "model"))
    assert (base.boolean, base.values_batch) == (BooleanStyle.WORDS, 20)
    assert (model.boolean, model.values_batch, model.names_batch) == (BooleanStyle.DIGITS, 20, 4)
    assert (vendor.names_batch, vendor.download_reports) == (0, Reports.NEVER)
    assert vendor.path("software") == model.path("software") == "Device.X_Software"
    assert base.path("hosts.2.mac") == "Device.Hosts.Host.2.PhysAddress"
    assert vendor.path("hosts.2.mac") is None
    assert base.diagnostic("ping") is not None
    assert vendor.diagnostic("ping") is None
    assert vendor.path("ping.host") is None
    assert found["base"].match == Match()
    key = present(model.mapped("key"))
    assert key.secret
    assert key.writable


def test_unsafe_calls() -> None:
    vendor = _read(base=BASE, vendor=VENDOR)["vendor"].profile
    assert vendor.unsafe_call("Reboot") == "it burns"
    assert vendor.unsafe_call("Reboot", "Device.") == "it burns"
    assert vendor.unsafe_call("FactoryReset") is None
    for path in ("", "Device.", "Device.Hosts."):
        assert vendor.unsafe_call("GetParameterValues", path) == "it hangs"
    for path in ("Device.Hosts.Host.", "Device.Host", "Device.Hosts", "Device.Hosts.HostNumberOfEntries"):
        assert vendor.unsafe_call("GetParameterValues", path) is None


@pytest.mark.parametrize(
    ("match", "score"),
    [
        (Match(), (False, 0, 0, False)),
        (Match(ouis=("00AABB",)), (False, 0, 0, True)),
        (Match(classes=("ab1",)), (True, 0, 0, False)),
        (Match(prefixes=("A", "AB", "B")), (False, 2, 0, False)),
        (Match(classes=("AB1",), prefixes=("A",)), (True, 0, 0, False)),
        (Match(ouis=("00AABB",), prefixes=("A",), software=("2", "2.")), (False, 1, 2, True)),
        (Match(ouis=("00AABC",)), None),
        (Match(classes=("AB",)), None),
        (Match(prefixes=("AB12",)), None),
        (Match(classes=("AB1",), software=("3",)), None),
    ],
)
def test_how_specific_a_match_is(match: Match, score: tuple[bool, int, int, bool] | None) -> None:
    assert match.score(" 00aabb", "AB1 ", "2.1 ") == score


def test_the_order_of_what_is_more_specific() -> None:
    order = [
        Match(),
        Match(ouis=("00AABB",)),
        Match(prefixes=("A",)),
        Match(prefixes=("A",), ouis=("00AABB",)),
        Match(prefixes=("A",), software=("2",)),
        Match(prefixes=("AB",)),
        Match(classes=("AB1",)),
        Match(classes=("AB1",), software=("2",)),
        Match(classes=("AB1",), software=("2.",), ouis=("00AABB",)),
    ]
    scores = [match.score("00AABB", "AB1", "2.1") for match in order]
    assert None not in scores
    assert sorted(scores, key=lambda score: score or (False, 0, 0, False)) == scores
    assert len(set(scores)) == len(scores)


WRONG = {
    "no TOML": ('root = "Device.', "base.toml: expected TOML: "),
    "no root": (BASE.replace('root = "Device."', ""), "root: expected a text, got nothing"),
    "root without a dot": (BASE.replace('"Device."', '"Device"'), "root: expected one word and a dot, got 'Device'"),
    "unknown section": (
        BASE + "[other]\n",
        "other: expected one of diagnostics, parameters, places, quirks, root, got 'other'",
    ),
    "unknown quirk": (BASE.replace("names_batch", "name_batch"), "quirks.name_batch: expected one of "),
    "boolean style": (
        BASE.replace('boolean = "true"', "boolean = true"),
        "quirks.boolean: expected one of '1', 'true', got True",
    ),
    "batch below 0": (BASE.replace("= 20", "= -1"), "quirks.values_batch: expected a whole number from 0, got -1"),
    "batch of a flag": (
        BASE.replace("= 20", "= true"),
        "quirks.values_batch: expected a whole number from 0, got True",
    ),
    "flag": (
        BASE.replace("get_by_path = true", "get_by_path = 1"),
        "quirks.get_by_path: expected true or false, got 1",
    ),
    "flag missing": (BASE.replace("get_by_path = true", ""), "quirks.get_by_path: expected true or false, got nothing"),
    "no firmware type": (
        BASE.replace('["1 Firmware Upgrade Image"]', "[]"),
        "quirks.firmware_types: expected a list of texts, at least 1, got []",
    ),
    "texts": (
        BASE.replace('["1 Firmware Upgrade Image"]', "[1]"),
        "quirks.firmware_types: expected a list of texts, at least 1, got [1]",
    ),
    "unsafe": (BASE.replace("unsafe = []", 'unsafe = ["Reboot"]'), "quirks.unsafe: expected a list of tables"),
    "unsafe without why": (
        BASE.replace("unsafe = []", 'unsafe = [{ method = "Reboot" }]'),
        "quirks.unsafe[0].why: expected a text, got nothing",
    ),
    "kind": (
        BASE.replace('SoftwareVersion", kind = "string"', 'SoftwareVersion", kind = "text"'),
        "parameters.software.kind: expected one of ",
    ),
    "no path": (BASE.replace('path = "Key", ', ""), "parameters.key.path: expected a text, got nothing"),
    "unit": (BASE.replace('"Key", kind', '"Key", unit = "h", kind'), "parameters.key.unit: expected one of "),
    "key of a parameter": (
        BASE.replace("secret = true", "hidden = true"),
        "parameters.key.hidden: expected one of at, kind, or, path, secret, unit, writable, got 'hidden'",
    ),
    "parameter of no table": (
        BASE.replace('{ path = "Key", kind = "string", secret = true, writable = true }', "7"),
        "parameters.key: expected a table, got 7",
    ),
    "table without a dot": (
        BASE.replace('"Hosts.Host."', '"Hosts.Host"'),
        "parameters.hosts.path: expected a path that ends in a dot, got 'Hosts.Host'",
    ),
    "path with a dot": (
        BASE.replace('"Key"', '"Key."'),
        "parameters.key.path: expected a path that does not end in a dot, got 'Key.'",
    ),
    "column without a row": (
        BASE.replace("Hosts.Host.{i}.Phys", "Hosts.Host.1.Phys"),
        "parameters.hosts.{i}.mac.path: expected {i} as often as in the name",
    ),
    "path twice": (
        BASE.replace('"Key"', '"DeviceInfo.SoftwareVersion"'),
        "key: expected a path that software does not have",
    ),
    "name twice": (BASE.replace('"key" =', '"ping.host" ='), "ping.host: expected a name once, got 'ping.host twice'"),
    "diagnostic": (
        BASE.replace('object = "Ping."', 'object = "Ping"'),
        "diagnostics.ping.object: expected a path that ends in a dot, got 'Ping'",
    ),
    "writable result": (
        BASE.replace('"unsignedInt" }', '"unsignedInt", writable = true }'),
        "diagnostics.ping.results.success.writable: expected one of kind, path, unit",
    ),
}
WRONG_VENDOR = {
    "extends nothing": (VENDOR.replace('"base"', '"basic"'), "extends: expected one of 'base', 'vendor', got 'basic'"),
    "extends itself": (VENDOR.replace('"base"', '"vendor"'), "extends: expected another file"),
    "root of its own": (f'root = "Device."\n{VENDOR}', "root: expected one of diagnostics, extends, match, "),
    "no match": (VENDOR.replace("[match]", "[matched]"), "matched: expected one of"),
    "matches everything": (
        'extends = "base"\n',
        "match: expected an OUI or a product class, none of them empty, got {}",
    ),
    "matches every class": (
        'extends = "base"\nmatch.product_class_prefix = [""]\n',
        "match: expected an OUI or a product class",
    ),
    "OUI": (VENDOR.replace("00AABB", "00aabb"), "match.oui: expected six hexadecimal digits in capitals, got '00aabb'"),
    "OUI too short": (
        VENDOR.replace("00AABB", "00AA"),
        "match.oui: expected six hexadecimal digits in capitals, got '00AA'",
    ),
    "key of match": (VENDOR.replace("product_class_prefix", "class"), "match.class: expected one of "),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_in_a_file_is_named(what: str) -> None:
    text, said = WRONG[what]
    with pytest.raises(ProfileError, match=r"^profile base\.toml(, line [0-9]+)?: ") as caught:
        profile_files.read({"base": text})
    assert said in re.sub(r", line [0-9]+", "", f"base.toml: {caught.value}")


@pytest.mark.parametrize("what", WRONG_VENDOR)
def test_a_mistake_in_a_file_that_extends_another_is_named(what: str) -> None:
    text, said = WRONG_VENDOR[what]
    with pytest.raises(ProfileError, match=r"^profile vendor\.toml(, line [0-9]+)?: ") as caught:
        profile_files.read({"base": BASE, "vendor": text})
    assert said in str(caught.value)


def test_a_file_that_is_nested_too_deep_is_a_wrong_one() -> None:
    _, problems = profile_files.read_own({"mine": f"x = {'[' * 100_000}"})
    assert len(problems) == 1
    assert problems[0].startswith("profile mine.toml: expected TOML: ")


def test_what_is_shipped_is_read() -> None:
    assert {"tr098", "tr181", "huawei-hg8245", "tplink-td-w9970", "draytek-vigor2860", "lab098", "lab181"} <= {
        entry.profile.name for entry in profile_files.load()
    }
