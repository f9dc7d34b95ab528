"""Any bytes give a script or a refusal, in a number of steps that grows as their length does."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.router.errors import ScriptError, ScriptSyntaxError
from lab.router.limits import SCRIPT_DEPTH_MAX
from lab.router.script import Script, parse
from lab.tests.router.data import MIKROTIK

SCRIPT = b"""# a script that uses most of the language
:global f do={
    :local a [:toarray ""]; :set ($a->"k") {1;2;b=(3 + 4)}
    :foreach k,v in=$a do={ :if ($k ~ "x\\\\.") do={ :set a ($a, "$k=$[:pick $v 0 (-1)]\\r\\n") } else={} }
    :onerror e in={ /ip route remove [find where !dynamic and comment~"x" distance>5] } do={ :log info $e }
    :return ($a->0->"b")
}
/ip firewall filter
add chain=forward src-address=!10.0.0.0/8 comment=\\
    "a" disabled=no
/system script add name=x source={:put 1}
[$f 1 name=2]; unknown thing a="b" (1 <%% $f)
"""
SCRIPTS = [SCRIPT]
if MIKROTIK.is_dir():
    SCRIPTS += [p.read_bytes() for p in sorted((MIKROTIK / "rsc-parse").glob("*.rsc"))[::23]]

TOKENS = [
    b":put", b"/ip", b" route", b" find", b" where", b" set", b"add", b":set", b":local", b"$x", b"$", b'"', b"(", b")",
    b"[", b"]", b"{", b"}", b";", b"\n", b" ", b"\t", b"=", b"->", b"<%%", b"!", b"~", b"-", b"1", b"1s", b"1.1",
    b"::1/9", b"x", b"do=", b"in=", b"#", b"\\", b"\\\n", b"\\n", b",", b".", b"..", b"/", b":", b"'", b"\xff",
    b"and", b"any ", b" as-value",
]  # fmt: skip
DAMAGE = st.tuples(st.sampled_from(["cut", "change", "put"]), st.integers(0, 1 << 16), st.sampled_from(TOKENS))


def read(script: bytes) -> Script | None:
    """A script, or None where it is refused; any other error is the test's."""
    try:
        script_read = parse(script)
    except ScriptSyntaxError as err:
        refusal = err
    else:
        # beyond the limit the listing is refused, which is no other error either
        with contextlib.suppress(ScriptError):
            script_read.listing()
        return script_read
    assert 1 <= refusal.line <= script.count(b"\n") + 1
    assert refusal.column >= 1
    return None


@given(st.binary(max_size=300))
def test_any_bytes(script):
    read(script)


@given(st.lists(st.sampled_from(TOKENS), max_size=60).map(b"".join))
def test_any_tokens(script):
    read(script)


@given(st.sampled_from(SCRIPTS), st.lists(DAMAGE, min_size=1, max_size=6))
def test_damaged_scripts(script, damage):
    for what, where, token in damage:
        at = where % (len(script) + 1)
        end = at if what == "put" else at + (5 if what == "cut" else len(token))
        script = script[:at] + (b"" if what == "cut" else token) + script[end:]
    read(script)


def test_the_whole_script_is_one():
    script = read(SCRIPT)
    assert script
    assert b"bad command name unknown" in script.listing()


@pytest.mark.parametrize(
    "opening",
    [b"(", b"[", b"{", b":put {", b":if (1) do={", b'"$[:put "$(', b"[/ip address set [find where (!", b"($a <%% "],
)
def test_brackets_beyond_the_limit_are_refused(opening):
    assert read(opening * SCRIPT_DEPTH_MAX * 3) is None


def test_brackets_up_to_the_limit_are_read():
    assert read(b":put " + b"(" * (SCRIPT_DEPTH_MAX - 1) + b"1" + b")" * (SCRIPT_DEPTH_MAX - 1))


def test_a_listing_beyond_the_limit_is_refused():
    depth = SCRIPT_DEPTH_MAX - 2
    script = parse(b"$[" * depth + b":put 1" + b"]" * depth)
    with pytest.raises(ScriptError, match="listing of"):
        script.listing()


def steps(work: Callable[[], object]) -> int:
    """How many functions are called, of Python's and of C's."""
    count = 0

    def called(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("start", [b"", b":put (", b"x ", b"/ip/address/find where "])
@pytest.mark.parametrize(
    "unit",
    [b"$a - ", b"1+", b"$a->", b"1,", b";1", b"[$a]\n", b'"$x" ', b"{a;", b"\t;x", b":put {1;b=2}\n", b"# x\n",
     b" # x\n", b"-", b"!", b'""', b"a=b ", b":if (1) do={:put 1} else={}\n", b"\\\n"],
)  # fmt: skip
def test_steps_grow_as_the_length_does(start, unit):
    few, many = (steps(lambda: read(start + unit * n)) for n in (200, 800))  # noqa: B023 each is run at once
    assert many < 4.5 * few + 400


def test_long_line_of_unknown_words_costs_what_its_length_does():
    # each word's column is counted from the one before, not from the line's begin
    script = parse(b"\t;x" * 20_000)
    assert script.listing().endswith(b"(line 1 column 160001) x)")
