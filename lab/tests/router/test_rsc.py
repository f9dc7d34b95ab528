"""Exports read and written: quoting, continuation, paths; whatever text comes, statements or a line number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.router.errors import ScriptError
from lab.router.rsc import Statement, format_statement, parse_export, quote


def only(text: str) -> Statement:
    (statement,) = parse_export(text)
    return statement


def test_paths_comments_and_continuation():
    text = """\
# 2026-03-02 05:10:44 by RouterOS 7.20.8
#
/interface ethernet
set [ find default-name=ether1 ] comment="UPLINK 1 - Carrier A" name=\\
    ether1-wan speed=1Gbps
/ip firewall filter
add action=drop chain=forward comment="SUSPENDED: only \\
    DNS" src-address-list=!ok
add
/system/identity set name=x
"""
    first, second, third, fourth = parse_export(text)
    assert (first.line, first.path, first.verb) == (4, "/interface/ethernet", "set")
    assert first.find == {"default-name": "ether1"}
    assert first.args == {"comment": "UPLINK 1 - Carrier A", "name": "ether1-wan", "speed": "1Gbps"}
    assert second.path == "/ip/firewall/filter"
    assert second.args["comment"] == "SUSPENDED: only DNS"
    assert second.args["src-address-list"] == "!ok"
    assert (third.verb, third.args) == ("add", {})
    assert (fourth.path, fourth.args) == ("/system/identity", {"name": "x"})


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain", "plain"),
        ('""', ""),
        ('"a b"', "a b"),
        (r'":local u \"\$user\";\r\n:log"', ':local u "$user";\r\n:log'),
        (r'"LAN \C3\B1 torre"', "LAN ñ torre"),
        (r'"tab\tquestion\?back\\"', "tab\tquestion?back\\"),
        (r'"caf\E9"', "caf\udce9"),
        (r'"sp\_ace"', "sp ace"),
    ],
)
def test_values(written, value):
    assert only(f"/x\nadd comment={written} name=y").args == {"comment": value, "name": "y"}


def test_what_a_set_is_about():
    assert only("/x\nset *FFFFFFFE a=b").which == "*FFFFFFFE"
    assert only("/x\nset 0 a=b").which == "0"
    assert only('/x\nset "two words" a=b').which == "two words"
    assert only("/x\nset a=b").which == ""
    assert only("/x\nset !a b=c").args == {"!a": "", "b": "c"}
    assert only("/x\nset [ find name=y disabled=yes ] a=b").find == {"name": "y", "disabled": "yes"}


def test_a_leading_dot_goes_on_from_the_argument_before():
    args = only("/routing bgp connection\nadd as=1 local.role=ebgp .address=10.0.0.1 name=x remote.as=2 !.port").args
    assert args == {
        "as": "1",
        "local.role": "ebgp",
        "local.address": "10.0.0.1",
        "name": "x",
        "remote.as": "2",
        "!remote.port": "",
    }


@pytest.mark.parametrize(
    "text",
    [
        '/x\nadd name="open',
        "/x\nadd name=[/system identity get name]",
        "/x\nadd name=$var",
        '/x\nadd name="$var"',
        "/x\n:global a 1",
        "/x\nset [ where a=b ] c=d",
        "/x\nset [ find a=b c=d",
        "/x\nadd a=b ]",
        "/x\nfly a=b",
        r"/x" + "\n" + r'add a="\z"',
        "/x\nadd =b",
    ],
)
def test_what_is_no_export_is_refused_with_its_line(text):
    with pytest.raises(ScriptError, match="line 2"):
        list(parse_export(text))


@given(st.text(max_size=80) | st.lists(st.sampled_from(list('/ad set[]find="\\\n !x.#$')), max_size=60).map("".join))
def test_total(text):
    try:
        list(parse_export(text))
    except ScriptError:
        pass


names = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
# surrogates stand for bytes that are no UTF-8, as the reader keeps them
values = st.text(max_size=40) | st.binary(max_size=20).map(lambda b: b.decode("utf-8", "surrogateescape"))


@given(values)
def test_quoting_is_ascii_and_round_trips(value):
    written = quote(value)
    assert written.isascii()
    assert "\n" not in written
    assert only(f"/x\nadd a={written} b=c").args == {"a": value, "b": "c"}


@given(st.dictionaries(names, values, max_size=5), st.dictionaries(names, values, max_size=3))
def test_statements_round_trip(args, find):
    verb = "set" if find else "add"
    made = Statement(2, "/a/b", verb, find=find, args=args)
    assert only(f"/a b\n{format_statement(made)}") == made
