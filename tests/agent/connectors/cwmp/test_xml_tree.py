from __future__ import annotations

import contextlib
import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.cwmp import limits, xml_tree
from agent.connectors.cwmp.errors import LocalCwmpError, MalformedXmlError
from agent.connectors.cwmp.xml_tree import Element, in_one_go, parse_in_slices_untrusted, work_of
from tests.agent.connectors.cwmp.strategies import CHARS
from tests.builders import reads

parse = reads.parse

# --- read -------------------------------------------------------------------------------------------------------------


def test_an_element_has_text_or_children() -> None:
    root = parse(b'<a x="1">\n  <b> t </b>\n  stray <c/>\n</a>')
    assert root == Element("", "a", "", (Element("", "b", " t "), Element("", "c")), {("", "x"): "1"})


def test_namespaces_hold_where_they_are_declared() -> None:
    root = parse(b'<p:a xmlns:p="urn:1" xmlns="urn:d"><b p:x="1" x="2"/><b xmlns="" xmlns:p="urn:2"><p:c/></b></p:a>')
    first, second = root.children
    assert (root.namespace, first.namespace, second.namespace) == ("urn:1", "urn:d", "")
    assert first.attributes == {("urn:1", "x"): "1", ("", "x"): "2"}
    assert second.children[0].namespace == "urn:2"
    assert first.scope["p"] == "urn:1"


def test_an_undeclared_prefix_is_no_namespace_and_no_end() -> None:
    root = parse(b'<q:a q:x="1"/>')
    assert (root.namespace, root.name) == ("q:", "a")
    assert root.attribute("urn:x", "x") == "1"
    assert root.attribute("urn:x", "y") is None


def test_text_is_joined_across_everything_between() -> None:
    assert parse(b"<a>1<!-- 2 -->3<?pi 4?><![CDATA[<5>]]>&amp;&#233;</a>").text == "13<5>&é"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("<a>é</a>".encode(), "é"),
        ('<?xml version="1.0"?><a>é</a>'.encode(), "é"),
        (b'<?xml version="1.0" encoding="ISO-8859-1"?><a>\xe9</a>', "é"),
        (b'<?xml version="1.0" encoding="us-ascii"?><a>e</a>', "e"),
        ('<?xml version="1.0" encoding="utf-16"?><a>é</a>'.encode("utf-16"), "é"),
        ("<a>é</a>".encode("utf-16"), "é"),
        ("\ufeff<a>é</a>".encode(), "é"),
        (b'\r\n  <?xml version="1.0"?><a>e</a>\n\x00', "e"),
    ],
)
def test_encodings(data: bytes, text: str) -> None:
    assert parse(data).text == text


def test_characters_that_need_care() -> None:
    assert parse(b'<a x="1>2">&#x1F600;&lt;&gt;&quot;&apos;</a>') == Element(
        "", "a", "\U0001f600<>\"'", attributes={("", "x"): "1>2"}
    )


# --- refuse -----------------------------------------------------------------------------------------------------------

REFUSED = {
    "nothing": (b"", "no element found"),
    "no end": (b"<a><b></b>", "no element found"),
    "mismatch": (b"<a></b>", "mismatched tag"),
    "two roots": (b"<a/><b/>", "junk after document element"),
    "text before": (b"x<a/>", "invalid token"),
    "attribute twice": (b'<a x="1" x="2"/>', "duplicate attribute"),
    "attribute twice by namespace": (b'<a xmlns:p="u" xmlns:q="u" p:x="1" q:x="2"/>', "got two"),
    "not UTF-8": (b"<a>\xe9\x80</a>", "invalid token"),
    "control character": (b"<a>\x01</a>", "invalid token"),
    "half a surrogate pair": (b"<a>&#xD83D;</a>", "invalid character number"),
    "an entity": (b"<a>&e;</a>", "undefined entity"),
    "encoding of a codec": (b'<?xml version="1.0" encoding="cp037"?><a/>', "expected UTF-8"),
    "encoding of no codec": (b'<?xml version="1.0" encoding="x-none"?><a/>', "expected UTF-8"),
    "many bytes an encoding": (b'<?xml version="1.0" encoding="big5"?><a/>', "expected UTF-8"),
    "DTD": (b"<!DOCTYPE a><a/>", "no document type declaration"),
    "DTD with entities": (b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>', "no document type"),
    "DTD in UTF-16": ("<!DOCTYPE a><a/>".encode("utf-16"), "no document type declaration"),
    "DTD in UTF-16 without a mark": ("<!DOCTYPE a><a/>".encode("utf-16-be"), "no document type declaration"),
    "deep": (b"<a>" * 33, "inside each other"),
    "attributes": (b"<a %s/>" % b" ".join(b'a%d="1"' % n for n in range(33)), "attributes"),
    "name": (b"<" + b"a" * 257 + b"/>", "names of at most"),
    "name of an attribute": (b"<a " + b"a" * 257 + b'="1"/>', "names of at most"),
    "prefixes": (
        b"".join(b"<a %s>" % b" ".join(b'xmlns:p%d="u"' % (n + 30 * d) for n in range(30)) for d in range(3)),
        "prefixes",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_taken_has_a_named_error(what: str) -> None:
    data, why = REFUSED[what]
    with pytest.raises(MalformedXmlError, match=why):
        parse(data)


@pytest.mark.parametrize(
    ("limit", "value", "data"),
    [
        ("BODY_BYTES", 10, b"<a>12345</a>"),
        ("TEXT_CHARS", 5, b"<a>123456</a>"),
        ("TEXT_CHARS", 5, b"<a>123<b/>456789</a>"),
    ],
)
def test_limits(limit: str, value: int, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    parse(data)
    monkeypatch.setattr(limits, limit, value)
    with pytest.raises(MalformedXmlError, match=f"at most {value}"):
        parse(data)


def test_elements_are_bounded_by_whoever_reads() -> None:
    data = b"<a><b/><b/><b/></a>"
    assert len(in_one_go(parse_in_slices_untrusted(data, 4)).children) == 3
    with pytest.raises(MalformedXmlError, match="at most 3"):
        in_one_go(parse_in_slices_untrusted(data, 3))


@pytest.mark.parametrize("end", [b"</a>", b"</c>"])
def test_a_large_document_is_read_in_slices_that_say_their_work(end: bytes) -> None:
    data = b"<a>" + b"<b>1</b>" * 20_000 + end
    slices, works = parse_in_slices_untrusted(data), []
    with contextlib.suppress(StopIteration, MalformedXmlError):
        while True:
            works.append(next(slices))
    assert len(works) == len(data) // limits.SLICE_BYTES + 1
    assert sum(works) == pytest.approx(work_of(len(data), 20_001))
    assert max(works) <= work_of(limits.SLICE_BYTES, limits.SLICE_BYTES // 8 + 1)


@given(st.lists(st.sampled_from((b"<b>", b"</b>", b"x", "ä".encode(), b"<!--", b"-->", b" ")), max_size=30))
def test_slices_read_as_one_piece_does(pieces: list[bytes]) -> None:
    """A comment before it makes a document large enough for slices."""
    data = b"<a>" + b"".join(pieces) + b"</a>"
    large = b"<!--%b-->%b" % (b"y" * limits.STRANGER_BODY_BYTES, data)
    try:
        expected = parse(data)
    except MalformedXmlError:
        with pytest.raises(MalformedXmlError):
            parse(large)
    else:
        assert parse(large) == expected


def test_entities_are_not_expanded_before_they_are_refused() -> None:
    """A thousand million laughs: refused before expat sees the first."""
    laughs = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 10))
    tracemalloc.start()
    with pytest.raises(MalformedXmlError):
        parse(b'<!DOCTYPE a [<!ENTITY e0 "ha">' + laughs + b"]><a>&e9;</a>")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_expat_would_refuse_a_dtd_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for it goes before; were it ever to miss one, nobody would be fooled."""
    monkeypatch.setattr(xml_tree, "_FORBIDDEN", ())
    with pytest.raises(MalformedXmlError, match="no document type declaration"):
        parse(b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>')


def test_a_tree_does_not_outlive_its_use() -> None:
    """Parser and builder hold no circle: memory is given back at once, without the collector."""
    gc.collect()
    gc.disable()
    try:
        tracemalloc.start()
        for _ in range(10):
            parse(b"<a>" + b"<b>1</b>" * 2000 + b"</a>")
            with pytest.raises(MalformedXmlError):
                parse(b"<a>" + b"<b>1</b>" * 2000 + b"</c>")
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    finally:
        gc.enable()
    assert held < 1 << 20  # one tree alone takes more than that


def test_an_error_shows_no_text_and_names_neutralized() -> None:
    with pytest.raises(MalformedXmlError) as caught:
        parse(b"<a>s3cret-canary</b>")
    assert "canary" not in str(caught.value)
    name = "é\u202e" + "x" * 100
    with pytest.raises(MalformedXmlError) as caught:
        parse(f'<a xmlns:p="u" xmlns:{name}="u" {name}:y="1" p:y="2"/>'.encode())
    assert "\u202e" not in str(caught.value)
    assert len(str(caught.value)) < 200


# --- write ------------------------------------------------------------------------------------------------------------

PREFIXES = {"urn:1": "a", "urn:2": "b"}
NAMES = st.sampled_from(["Name", "x-y.z", "_1"])
SPACES = st.sampled_from(["", "urn:1", "urn:2"])


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> Element:
    children = draw(st.lists(elements(depth - 1), max_size=3)) if depth else []
    text = "" if children else draw(st.text(CHARS, max_size=20))
    attributes = draw(st.dictionaries(st.tuples(SPACES, NAMES), st.text(CHARS, max_size=10), max_size=3))
    return Element(draw(SPACES), draw(NAMES), text, tuple(children), attributes)


@given(elements())
def test_what_is_written_is_read_as_it_was(root: Element) -> None:
    assert parse(xml_tree.write(root, PREFIXES)) == root


def test_what_xml_cannot_hold_is_not_written() -> None:
    for wrong in (
        Element("", "a", "\x00"),
        Element("", "a", "\ud83d"),
        Element("", "a", "\uffff"),
        Element("", "a", attributes={("", "x"): "\x1b"}),
        Element("urn:3", "a"),
        Element("", "a", attributes={("urn:3", "x"): "1"}),
    ):
        with pytest.raises(LocalCwmpError):
            xml_tree.write(wrong, PREFIXES)


@given(st.text())
def test_what_is_char_data_is_what_expat_takes(text: str) -> None:
    try:
        got = parse(f"<a>{text.translate(xml_tree._ESCAPES)}</a>".encode("utf-8", "surrogatepass")).text
    except MalformedXmlError:
        assert not xml_tree.is_char_data(text)
    else:
        assert xml_tree.is_char_data(text)
        assert got == text
