"""The tables: as they are generated, complete, in agreement with what routers answered; reading and planning settle."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros.menus import Menu, MenuRole, UnknownMenuError, UnwritableError, menu, menus
from agent.connectors.routeros.values import RouterKind, normalize
from agent.connectors.routeros.versions import RECORDED, Version
from tests.agent.connectors.routeros.make_tables import TABLES, WANTED_BY, sources, tables
from tests.agent.connectors.routeros.recorded import export, needed, terse
from tests.agent.connectors.routeros.spellings import MEANINGS, spell

EVERY = [(release, path) for release in RECORDED for path in menus(release)]
OVERLAY = tomllib.loads((TABLES / "overlay.toml").read_text())
WRITABLE = {MenuRole.PLAIN, MenuRole.SECRET, MenuRole.WRITE_ONLY}
every_menu = pytest.mark.parametrize(("release", "path"), EVERY, ids=str)
every_path = pytest.mark.parametrize("path", sorted(OVERLAY["menus"]))


# --- the tables ---


def test_the_committed_tables_are_those_that_are_generated() -> None:
    needed()
    committed = {file.name: file.read_text() for file in TABLES.glob("*.json")}
    assert committed == tables()


def test_every_release_has_every_menu_of_the_overlay_and_a_file() -> None:
    assert {file.stem for file in TABLES.glob("*.json")} == {str(release) for release in RECORDED}
    for release in RECORDED:
        assert set(menus(release)) == set(OVERLAY["menus"])


@every_menu
def test_what_each_property_means_is_stated_somewhere(release: Version, path: str) -> None:
    """By a tree or by hand: TEXT is what is left when nobody looked, and compares two spellings as two values."""
    recorded = json.loads((TABLES / f"{release}.json").read_text())["menus"][path]["properties"]
    by_hand = OVERLAY["menus"][path]
    stated = {name for name, row in recorded.items() if "kind" in row}
    for part in (
        by_hand,
        {"kinds": OVERLAY["everywhere"]["kinds"]},
        {"kinds": by_hand.get("writable", {}).get(str(release), {})},
    ):
        for group in ("kinds", "read_only", "volatile"):
            stated |= {name for names in part.get(group, {}).values() for name in names}
    assert set(menu(path, release).properties) - stated == set()


@every_path
def test_the_overlay_names_nothing_that_no_release_has(path: str) -> None:
    by_hand = OVERLAY["menus"][path]
    names = {name for found in by_hand.get("kinds", {}).values() for name in found}
    names |= {*by_hand.get("secret", []), *by_hand.get("write_only", []), *by_hand.get("defaults", {})}
    assert names - {name for release in RECORDED for name in menu(path, release).properties} == set()
    assert by_hand["source"] == path.removeprefix("/"), "the page of the CLI reference has the menu's path"


@every_menu
def test_what_sounds_like_a_secret_is_one(release: Version, path: str) -> None:
    flags = {"private-key", "smart-card-key"}  # a certificate has one
    public = {"gre-key"}  # the number of a tunnel
    for name, known in menu(path, release).properties.items():
        if re.search(r"password|secret|passphrase|private|psk|key$", name) and name not in flags | public:
            assert known.role in (MenuRole.SECRET, MenuRole.WRITE_ONLY), name


@every_menu
def test_keys_can_be_read_and_defaults_are_spelled_as_values(release: Version, path: str) -> None:
    found = menu(path, release)
    for key in found.keys:
        assert found.properties[key].role in (MenuRole.PLAIN, MenuRole.READ_ONLY)
    for known in found.properties.values():
        assert known.default is None or normalize(known.kind, known.default) == known.default


def test_what_an_empty_add_was_refused_for_is_required() -> None:
    needed()
    recorded, compared = sources().empty_adds, 0
    for release, taken in WANTED_BY.items():
        for path, found in menus(release).items():
            row = recorded[taken].get(path)
            if row is None:
                continue
            compared += 1
            mine = found.one_of or tuple(sorted(name for name, known in found.properties.items() if known.required))
            assert sorted(mine) == sorted(row["required"]), (path, row["rawError"])
    assert compared > 40


@pytest.mark.parametrize(
    ("file", "release", "rows"),
    [
        ("routeros-diff-verbose_export-6.48.1.rsc", Version(6, 49, 18), 30),
        ("synthetic-wisp-v6.rsc", Version(6, 49, 18), 200),
        ("synthetic-wisp-v7.rsc", Version(7, 20, 8), 500),
    ],
)
def test_what_exports_set_can_be_written_or_unset(file: str, release: Version, rows: int) -> None:
    needed()
    lines = [(line, menus(release)[line.path]) for line in export(file) if line.path in menus(release)]
    assert len(lines) > rows
    for line, found in lines:
        for name in line.values:
            found.writable(name)
        for name in line.unset:
            assert found.properties[name].can_unset, f"{line.path} {name}"


def test_the_defaults_are_those_of_a_verbose_export() -> None:
    """A router's `default` PPP profile and its /ppp aaa have nothing set: what they print are the defaults."""
    needed()
    lines = list(export("routeros-diff-verbose_export-6.48.1.rsc"))
    (profile,) = [line for line in lines if line.path == "/ppp/profile" and line.found == "*0"]
    (aaa,) = [line for line in lines if line.path == "/ppp/aaa"]
    for line in (profile, aaa):
        found = menu(line.path, RECORDED[0])
        for name, text in line.values.items():
            if name != "name":
                assert found.properties[name].default == normalize(found.properties[name].kind, text), name
        for name in line.unset:
            assert found.properties[name].default is None


@pytest.mark.parametrize(
    ("name", "path", "release"),
    [
        ("ip_dhcp-server_lease_print_terse_without-paging", "/ip/dhcp-server/lease", RECORDED[0]),
        ("ip_firewall_connection_print_terse_without-paging", "/ip/firewall/connection", RECORDED[2]),
        ("ip_route_print_terse", "/ip/route", RECORDED[2]),
    ],
)
def test_what_routers_print_is_known(name: str, path: str, release: Version) -> None:
    needed()
    rows = list(terse(name))
    assert len(rows) > 1
    for row in rows:
        assert menu(path, release).sort(row).unknown == {}


# --- reading and writing ---


@every_menu
def test_a_bulk_read_asks_for_what_is_compared_and_no_more(release: Version, path: str) -> None:
    found = menu(path, release)
    asked = found.proplist
    assert len(set(asked)) == len(asked)
    assert asked[: 1 + len(found.keys)] == (".id", *found.keys) if not found.single else ".id" not in asked
    roles = {found.properties[name].role for name in asked if name != ".id"}
    assert roles <= {MenuRole.PLAIN, MenuRole.SECRET, MenuRole.READ_ONLY}
    left_out = {found.properties[name].role for name in found.properties if name not in asked}
    assert left_out <= {MenuRole.VOLATILE, MenuRole.WRITE_ONLY}


@every_menu
def test_an_absent_property_reads_as_its_default(release: Version, path: str) -> None:
    found = menu(path, release)
    for name, known in found.properties.items():
        if known.default is not None and known.role is not MenuRole.VOLATILE:
            assert found.readable({}) == found.readable({name: known.default})
            assert found.readable({})[name] == known.default


def _rows(found: Menu, data: st.DataObject, roles: set[MenuRole]) -> tuple[dict[str, str], dict[str, str]]:
    """Return a row as we write it, and as a router might print it: other spellings, and what it does by itself."""
    ours: dict[str, str] = {}
    theirs: dict[str, str] = {".id": "*1A"}
    some = sorted(name for name, known in found.properties.items() if known.role in roles)
    for name in data.draw(st.lists(st.sampled_from(some), unique=True, max_size=8)) if some else ():
        kind = found.properties[name].kind
        meaning = data.draw(MEANINGS[kind])
        ours[name], theirs[name] = data.draw(spell(kind, meaning)), data.draw(spell(kind, meaning))
    for name, known in found.properties.items():
        if known.role is MenuRole.VOLATILE:
            theirs[name] = data.draw(st.sampled_from(["0", "1h5m", "x"]))
        elif known.role is not MenuRole.WRITE_ONLY and name not in ours and data.draw(st.booleans()):
            if known.default is not None:
                theirs[name] = known.default
            elif known.kind not in (RouterKind.SWITCH, RouterKind.MATCH_LIST):
                theirs[name] = ""
    return ours, theirs


@every_path
@given(release=st.sampled_from(RECORDED), data=st.data())
def test_what_was_applied_needs_nothing_more(release: Version, path: str, data: st.DataObject) -> None:
    found = menu(path, release)
    ours, theirs = _rows(found, data, {MenuRole.PLAIN, MenuRole.SECRET})
    wanted, read = found.readable(ours), found.readable(theirs)
    assert [name for name in ours if read.get(name) != wanted.get(name)] == []
    assert read == wanted
    assert found.readable(read) == read
    reading = found.sort(theirs)
    assert reading.settled == read
    assert set(reading.settled) | set(reading.volatile) <= set(found.properties)
    assert ".id" not in {*reading.settled, *reading.volatile, *reading.unknown}


@every_path
@given(release=st.sampled_from(RECORDED), data=st.data())
def test_a_change_of_one_property_is_seen(release: Version, path: str, data: st.DataObject) -> None:
    found = menu(path, release)
    some = [name for name, known in found.properties.items() if known.role in (MenuRole.PLAIN, MenuRole.SECRET)]
    if not some:
        return
    name = data.draw(st.sampled_from(sorted(some)))
    kind = found.properties[name].kind
    before = data.draw(MEANINGS[kind])
    after = data.draw(MEANINGS[kind].filter(lambda meaning: meaning != before))
    rows = [found.readable({name: data.draw(spell(kind, meaning))}) for meaning in (before, after)]
    assert rows[0] != rows[1]


@every_menu
def test_what_can_be_written_is_told_by_its_role(release: Version, path: str) -> None:
    found = menu(path, release)
    for name, known in found.properties.items():
        if known.role in WRITABLE:
            assert found.writable(name) is known
        else:
            with pytest.raises(UnwritableError, match=f"{name} is {known.role.value}"):
                found.writable(name)
    with pytest.raises(UnwritableError, match="no property that the tables know"):
        found.writable("no-such-property")


def test_a_menu_that_we_do_not_use_is_refused() -> None:
    with pytest.raises(UnknownMenuError, match="/ip/firewall/nat"):
        menu("/ip/firewall/nat", RECORDED[0])


def test_a_secret_as_a_router_prints_it() -> None:
    row = {
        ".id": "*1", "name": "ana", "caller-id": "", "comment": "casa 12", "disabled": "false", "ipv6-routes": "",
        "last-logged-out": "1970-01-01 00:00:00", "limit-bytes-in": "0", "limit-bytes-out": "0", "password": "x y",
        "profile": "plan-10M", "routes": "", "service": "pppoe", "new-in-8": "?",
    }  # fmt: skip
    reading = menu("/ppp/secret", Version(7, 24, 4)).sort(row)
    assert reading.unknown == {"new-in-8": "?"}
    assert reading.volatile == {"last-logged-out": "1970-01-01 00:00:00"}
    assert "routes" not in reading.settled, "it can be unset, and prints as the empty text then"
    written = menu("/ppp/secret", Version(7, 24, 4)).readable(
        {"name": "ana", "password": "x y", "profile": "plan-10M", "service": "pppoe", "comment": "casa 12"}
    )
    assert reading.settled == written


def test_a_set_of_nothing_is_not_no_set() -> None:
    found = menu("/ip/firewall/filter", Version(7, 20, 8))
    assert found.readable({"connection-state": ""}) != found.readable({})
    assert menu("/ip/route", Version(7, 20, 8)).readable({"blackhole": ""})["blackhole"] == "true"


def test_releases_differ_as_their_trees_do() -> None:
    for name, has in (("hw-offload", [True, True, True, False]), ("tos", [False, False, False, True])):
        assert [name in menu("/ip/firewall/filter", release).properties for release in RECORDED] == has, name
    assert menu("/ip/hotspot/user", RECORDED[-1]).properties["otp-secret"].role is MenuRole.SECRET


def test_what_hands_out_ipv6_is_read_on_6_49_and_not_written() -> None:
    """No record of 6.49 has it: a profile that is asked for without it would look as if it handed out none."""
    found = menu("/ppp/profile", RECORDED[0])
    for name in ("remote-ipv6-prefix-pool", "dhcpv6-pd-pool"):
        assert name in found.proplist
        with pytest.raises(UnwritableError):
            found.writable(name)
    for name in ("block-access", "rate-limit", "address-lists"):
        menu("/ip/dhcp-server/lease", RECORDED[0]).writable(name)


def test_menus_with_an_order_and_those_of_settings() -> None:
    for release in RECORDED:
        found = menus(release)
        ordered = {path for path, m in found.items() if m.ordered}
        assert ordered == {
            "/ip/firewall/filter", "/ipv6/firewall/filter", "/queue/simple", "/radius", "/ip/hotspot/ip-binding"
        }  # fmt: skip
        assert {path for path, m in found.items() if m.single} == {
            "/ppp/aaa", "/radius/incoming", "/system/clock", "/system/device-mode", "/system/identity",
            "/system/license", "/system/resource", "/system/routerboard",
        }  # fmt: skip
