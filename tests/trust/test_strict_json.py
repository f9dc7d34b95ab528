import enum
import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust import limits, strict_json
from trust.errors import MalformedStatementError, NotUnderstoodError
from trust.strict_json import Reader, read_object_untrusted


class Color(enum.Enum):
    RED = "red"


def read(data: bytes) -> Reader:
    return read_object_untrusted(data, 10_000, "thing")


@dataclass(frozen=True)
class Inside:
    commit: str


def as_declared(declared, data: bytes):
    return strict_json.read_record_untrusted(declared, data, 10_000, "document")


T16 = {
    "twice": b'{"a":1,"a":2}',
    "twice inside": b'{"x":[{"a":1,"a":1}]}',
    "twice by escape": b'{"a":1,"\\u0061":2}',
    "nan": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "float": b'{"a":1.0}',
    "exponent": b'{"a":1e3}',
    "lone surrogate": b'{"a":"\\ud800"}',
    "lone surrogate name": b'{"\\udfff":1}',
    "lone surrogate deep": b'{"a":[["x\\ud800y"]]}',
    "raw surrogate": b'{"a":"\xed\xa0\x80"}',
    "bom": b'\xef\xbb\xbf{"a":1}',
    "not utf-8": b'{"a":"\xff"}',
    "array": b"[1]",
    "empty": b"",
    "trailing": b"{} {}",
    "single quotes": b"{'a':1}",
    "control character": b'{"a":"\n"}',
    "huge integer": b'{"a":' + b"9" * 21 + b"}",
    "too long": b'{"a":"' + b"x" * 10_000 + b'"}',
    "deep list": b'{"a":' + b"[" * 4000 + b"]" * 4000 + b"}",
    "deep object": b'{"a":' * 17 + b"1" + b"}" * 17,
}


@pytest.mark.parametrize("data", T16.values(), ids=T16.keys())
def test_T16_traps_of_json_are_refused(data):
    with pytest.raises(MalformedStatementError):
        read(data)


def test_depth_is_counted_outside_of_strings():
    deep = b'{"a":' + b"[" * (limits.JSON_DEPTH - 1) + b"]" * (limits.JSON_DEPTH - 1) + b"}"
    assert read(deep).has("a")
    brackets = read(rb'{"a":"[[[[[[[[[[[[[[[[[[[[[[\"{{{{{{{{{{{{{{{{{{{{{", "b":"\\"}')
    assert brackets.text("b") == "\\"


def depth_by_character(text: str) -> int:
    """Return how deep brackets outside of strings nest, read one character after the other."""
    deepest = depth = 0
    inside = escaped = False
    for character in text:
        if inside:
            inside, escaped = escaped or character != '"', not escaped and character == "\\"
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


any_json = st.recursive(
    st.text(alphabet='"\\[]{}a\n', max_size=6) | st.integers(0, 9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='"\\[{', max_size=3), inner, max_size=2)
    ),
    max_leaves=30,
)


@given(any_json, st.integers(0, limits.JSON_DEPTH + 1))
def test_nesting_is_refused_exactly_above_the_limit(value, wrapped):
    for _ in range(wrapped):
        value = [value, '\\"[']
    text = json.dumps({"a": value}, ensure_ascii=False)
    if depth_by_character(text) <= limits.JSON_DEPTH:
        assert read(text.encode()).has("a")
    else:
        with pytest.raises(MalformedStatementError, match="nested deeper"):
            read(text.encode())


@given(st.text(alphabet='"\\[{]}:,1 ', max_size=60))
def test_malformed_text_is_refused_and_nothing_else_happens(text):
    with pytest.raises(MalformedStatementError):
        read(b'{"a":[' + text.encode() + b"!" + b"[" * 5000)


def test_hostile_quotes_take_linear_time():
    data = b'{"a":"' + b'\\"' * 400_000
    with pytest.raises(MalformedStatementError):
        read_object_untrusted(data, len(data), "thing")


def test_messages_never_hold_the_text():
    with pytest.raises(MalformedStatementError) as err:
        read(b'{"a":"hunter2", oops}')
    assert "hunter2" not in str(err.value)


def test_a_surrogate_pair_is_a_character():
    assert read(b'{"a":"\\ud83d\\ude00"}').text("a") == "\U0001f600"


def test_every_type_is_read_as_it_is():
    r = read(
        b'{"t":"x","tn":null,"ts":["a","b"],"tm":{"k":"v"},"i":5,"is":[1,2],"im":{"a":3},"b":true,'
        b'"h":"00ff","hs":["0a"],"e":"red","es":["red"],"o":{"x":1},"on":null,"os":[{"y":2}],"hd":"a-9"}'
    )
    assert (r.text("t"), r.text_or_none("tn"), r.text_or_none("t"), r.texts("ts")) == ("x", None, "x", ["a", "b"])
    assert (r.text_map("tm"), r.integer("i", 5, 5), r.integers("is", 1, 2)) == ({"k": "v"}, 5, [1, 2])
    assert (r.integer_map("im", 0, 3), r.boolean("b"), r.hex("h", 2), r.hexes("hs", 1)) == (
        {"a": 3},
        True,
        "00ff",
        ["0a"],
    )
    assert (r.enum("e", Color), r.enums("es", Color), r.handle("hd")) == (Color.RED, (Color.RED,), "a-9")
    assert r.object("o").integer("x", 0, 9) == 1
    assert (r.is_null("on"), r.is_null("o")) == (True, False)
    assert r.object_if_present("nowhere") is None
    assert r.object_if_present("o") is not None
    assert [o.integer("y", 0, 9) for o in r.objects("os")] == [2]
    assert r.names()[:2] == ("t", "tn")
    assert r.text_if_present("t") == "x"
    assert r.text_if_present("nowhere") == ""
    assert r.texts_of("t", "hd") == ("x", "a-9")
    r.done()


def test_an_object_of_values_of_several_kinds():
    inside = strict_json.record(Inside)(commit=strict_json.called("secret", strict_json.hexed(1)))
    declared = strict_json.record(dict)(v=strict_json.if_null(strict_json.values(inside), None))
    found = as_declared(declared, b'{"v":{"a":"x","b":["y","z"],"c":{"secret":"00"}}}')
    assert found == {"v": {"a": "x", "b": ("y", "z"), "c": Inside("00")}}
    assert as_declared(declared, b'{"v":null}') == {"v": None}
    for wrong, match in (
        (b'{"v":{"a":1}}', "should be an object, is an integer"),
        (b'{"v":{"c":{"secret":"00","b":"y"}}}', r"document\.v\.c: unknown field 'b'"),
        (b'{"v":{"c":{}}}', "'secret' is missing"),
        (b'{"v":{"%s":"x"}}' % (b"n" * (limits.NAME_BYTES + 1)), "has a name of more than"),
    ):
        with pytest.raises(MalformedStatementError, match=match):
            as_declared(declared, wrong)
    with pytest.raises(MalformedStatementError, match="unknown field 'b'"):
        read(b'{"a":"x","b":"y"}').only_texts("a")


def test_a_record_is_read_as_declared_and_nothing_beside_it():
    of = strict_json
    inside = of.record(Inside)(commit=of.text())
    declared = of.record(dict)(
        n=of.integer(1, 9),
        more=of.if_present(of.integers(1, 9), ()),
        one=of.either("effect", inside, of.called("list", of.each(inside))),
        color=of.if_null(of.member(Color), None),
        inner=inside,
        colors=of.if_present(of.members(Color), ()),
        who=of.if_present(of.handle(), ""),
    )
    good = {"n": 1, "effect": {"commit": "a"}, "color": None, "inner": {"commit": "b"}}
    found = {"n": 1, "more": (), "one": Inside("a"), "color": None, "inner": Inside("b"), "colors": (), "who": ""}
    assert as_declared(declared, json.dumps(good).encode()) == found
    other = {"n": 1, "more": [2], "list": [{"commit": "a"}], "color": "red", "inner": {"commit": "b"}}
    other |= {"colors": ["red"], "who": "a-9"}
    found = {"n": 1, "more": (2,), "one": (Inside("a"),), "color": Color.RED, "inner": Inside("b")}
    found |= {"colors": (Color.RED,), "who": "a-9"}
    assert as_declared(declared, json.dumps(other).encode()) == found
    for wrong, match in (
        ({**good, "x": 1}, "document: unknown field 'x'"),
        ({**good, "list": []}, "document: unknown field 'list'"),
        ({**good, "inner": {"commit": "b", "x": 1}}, r"document\.inner: unknown field 'x'"),
        ({**other, "list": [{"commit": "a", "x": 1}]}, r"document\.list\[0\]: unknown field 'x'"),
        ({**good, "n": 10}, "'n' should be 1 to 9"),
        ({**good, "n": True}, "'n' should be an integer"),
        ({k: v for k, v in good.items() if k != "color"}, "'color' is missing"),
        ({k: v for k, v in good.items() if k != "effect"}, "'list' is missing"),
        ({**good, "inner": None}, "'inner' should be an object"),
        ({**good, "colors": ["blue"]}, "'colors' should be one of red"),
        ({**good, "who": "A"}, "'who' should be a handle"),
    ):
        with pytest.raises(MalformedStatementError, match=match):
            as_declared(declared, json.dumps(wrong).encode())


WRONG = {
    "missing": lambda r: r.text("none"),
    "text": lambda r: r.text("i"),
    "texts": lambda r: r.texts("mixed"),
    "list": lambda r: r.texts("t"),
    "object": lambda r: r.object("t"),
    "objects": lambda r: r.objects("mixed"),
    "integer": lambda r: r.integer("t", 0, 9),
    "T6 bool is no integer": lambda r: r.integer("b", 0, 9),
    "T6 negative": lambda r: r.integer("neg", 0, 9),
    "T12 too large": lambda r: r.integer("i", 0, 4),
    "boolean": lambda r: r.boolean("i"),
    "hex length": lambda r: r.hex("h", 3),
    "hex upper case": lambda r: r.hex("H", 1),
    "hex fullwidth": lambda r: r.hex("fw", 1),
    "handle empty": lambda r: r.handle("empty"),
    "handle upper": lambda r: r.handle("H"),
    "handle newline": lambda r: r.handle("nl"),
    "enum": lambda r: r.enum("t", Color),
    "unread": lambda r: r.done(),
    "text over a limit": lambda r: r.text("h", 3),
    "text over a limit in bytes": lambda r: r.text("fw", 3),
}


@pytest.mark.parametrize("read_one", WRONG.values(), ids=WRONG.keys())
def test_wrong_fields_are_refused(read_one):
    r = read(
        b'{"i":5,"t":"x","mixed":["a",1],"b":true,"neg":-1,"h":"00ff","H":"AA","empty":"","nl":"a\\n",'
        b'"fw":"\xef\xbc\x91\xef\xbc\x92"}'
    )
    with pytest.raises(MalformedStatementError):
        read_one(r)


def test_T17_an_unknown_field_is_named():
    r = read(b'{"a":1,"surprise":2}')
    r.integer("a", 0, 9)
    with pytest.raises(MalformedStatementError, match="unknown field 'surprise'"):
        r.done()


def test_a_name_over_the_limit_is_refused():
    with pytest.raises(MalformedStatementError, match="name of more"):
        read(b'{"' + b"n" * 300 + b'":"v"}').names()


def test_T22_crit_is_obeyed_and_ext_ignored():
    r = read(b'{"crit":["later"],"ext":{"anything":[1]}}')
    with pytest.raises(NotUnderstoodError, match="later"):
        r.extensions()
    known = read(b'{"crit":["later"],"ext":{"later":1}}')
    known.extensions(["later"])
    known.done()
    read(b"{}").extensions()


@given(
    st.binary() | st.text().map(str.encode) | st.recursive(st.text(), lambda c: st.lists(c)).map(repr).map(str.encode)
)
def test_total_on_any_bytes(data):
    try:
        read(data).done()
    except MalformedStatementError:
        pass
