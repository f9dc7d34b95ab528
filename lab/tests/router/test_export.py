"""Routers made from exports: every recorded one loads, is written back and loads to the same; and it works."""

from __future__ import annotations

import pytest

from lab.router.device import Router
from lab.router.errors import ScriptError
from lab.router.export import contents, export, load_export
from lab.router.rsc import parse_export
from lab.tests.router.data import recorded
from lab.tests.router.routers import access_bench

EXPORTS = ["routeros-diff-verbose_export-6.48.1.rsc", "synthetic-wisp-v6.rsc", "synthetic-wisp-v7.rsc"]


def text_of(name: str) -> str:
    return recorded(f"rsc/{name}").read_text("utf-8", "surrogateescape")


def test_every_recorded_export_is_tested():
    assert sorted(p.name for p in recorded("rsc").glob("*.rsc")) == sorted(EXPORTS)


@pytest.mark.parametrize("name", EXPORTS)
def test_load_export_load_again(name):
    first = load_export(text_of(name))
    written = export(first.router, first.kept)
    second = load_export(written)
    assert contents(second.router) == contents(first.router)
    assert [(s.path, s.verb, s.which, s.find, s.args) for s in sorted(second.kept, key=lambda s: s.path)] == [
        (s.path, s.verb, s.which, s.find, s.args) for s in sorted(first.kept, key=lambda s: s.path)
    ]
    assert export(second.router, second.kept).splitlines()[5:] == written.splitlines()[5:]


@pytest.mark.parametrize("name", EXPORTS)
def test_nothing_of_an_export_is_lost(name):
    text = text_of(name)
    loaded = load_export(text)
    kept = {id(s) for s in loaded.kept}
    statements = list(parse_export(text))
    assert loaded.report.loaded + len(kept) == len(statements)
    adds: dict[str, list] = {}
    for s in statements:
        if s.verb == "add" and loaded.router.store.find_model(s.path):
            adds.setdefault(s.path, []).append(s)
    assert len(adds) >= 13
    for path, wanted in adds.items():
        rows = [r for r in loaded.router.store.table(path) if not r.builtin and not r.dynamic]
        assert len(rows) == len(wanted), path
        model = loaded.router.store.model(path)
        for row, s in zip(rows, wanted, strict=True):
            for arg, value in s.args.items():
                if arg.startswith("!") or (value == "" and arg not in row.props):
                    assert arg.removeprefix("!") not in row.props
                    continue
                kind = model.kinds.get(arg, str)
                assert row.props[arg] in (value, kind(value)), (path, arg)


def test_the_recorded_wisp_router_is_known_and_people_dial_in():
    loaded = load_export(text_of("synthetic-wisp-v7.rsc"))
    r = loaded.router
    assert loaded.report.unknown == ["line 1381: /routing/bgp/connection router-id"]
    assert (r.version, r.board) == ("7.20.8", "CCR2004-1G-12S+2XS")
    assert r.rows("/system/identity")[0]["name"] == "POP1 BNG"
    assert [i["name"] for i in r.rows("/interface") if i["name"].startswith("ether1")] == ["ether1-wan"]
    for row in r.rows("/ppp/secret")[:40]:
        cpe = r.plug_in(row["name"], row["password"])
        assert cpe.online == (row["disabled"] == "false"), cpe.refused
        if cpe.online:
            suspended = row["profile"] == "suspended"
            assert r.gets_out(row["name"]).out is not suspended
            assert r.gets_out(row["name"], port=53).out
    c = r.rows("/queue/simple")
    assert sum(q["dynamic"] == "true" for q in c) == sum(1 for _ in r.rows("/ppp/active"))


def test_a_dynamic_row_is_in_no_export_and_a_secret_is():
    r = access_bench().router
    r.plug_in("home1", "pw1")
    r.add("/ip/firewall/address-list", list="x", address="10.0.0.1", timeout="1d")
    text = export(r)
    assert "<pppoe-" not in text
    assert "10.0.0.1 " not in text
    assert "password=pw1" in text
    assert "/user\n" not in text
    assert "max-limit" not in text


def test_rates_and_truth_are_written_as_routeros_does():
    r = Router()
    r.add("/queue/simple", name="q", target="10.0.0.1", max_limit="20M/1500k", disabled="yes", comment="true")
    (line,) = [x for x in export(r).splitlines() if "max-limit" in x]
    assert line == "add comment=true disabled=yes max-limit=20M/1500k name=q target=10.0.0.1/32"


def test_changes_to_built_in_rows_come_back():
    first = Router()
    first.set("/ppp/profile", "default", remote_address="10.0.0.9", comment="mine")
    first.set("/ip/service", "api", port="8777")
    first.set("/interface", "ether1", name="wan")
    first.set("/user/group", "read", policy="read")
    second = load_export(export(first)).router
    assert second.rows("/ppp/profile")[0]["comment"] == "mine"
    assert next(s for s in second.rows("/ip/service") if s["name"] == "api")["port"] == "8777"
    assert contents(second) == contents(first)
    assert any(i["name"] == "wan" for i in second.rows("/interface"))


def test_what_is_no_export():
    with pytest.raises(ScriptError):
        load_export("this is\nno export")


def test_a_version_of_ones_own():
    assert load_export("/system identity\nset name=x\n", "7.24").router.version == "7.24"
