"""Any message that the schema has, made from the fields' own kinds."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from hypothesis import strategies as st

from agent.connectors.cwmp import fields
from agent.connectors.cwmp.messages import Fault
from agent.connectors.cwmp.methods import MESSAGES, Message, is_in
from agent.connectors.cwmp.structs import ParameterFault
from agent.connectors.cwmp.versions import CwmpVersion
from agent.cpe_model import values

T = TypeVar("T")
OLD = (CwmpVersion.V1_0, CwmpVersion.V1_1)
CHARS = st.one_of(
    st.sampled_from("aZ09 .&<>\"'\r\n\t]é中\U0001f600\x85\xa0\ufeff"),
    st.characters(
        exclude_categories=("Cs",), exclude_characters=f"{values.UNREADABLE}\ufffe\uffff" + "".join(map(chr, range(32)))
    ),
)
"""What XML can hold, and what needs care in it."""

SAMPLES = {
    "[0-9A-F]{6}": ["00256D", "FFFFFF"],
    "Subscriber": ["Subscriber"],
    "Installed|Uninstalled|Failed": ["Installed", "Uninstalled", "Failed"],
    "[A-Za-z0-9+/=]*": ["", "QUJD", "QQ=="],
}
DATES = ["0001-01-01T00:00:00Z", "2026-11-24T22:49:35.150Z", "2019-08-23T11:31:45+02:00", "1970-01-02T00:08:34"]


def text(kind: fields.Text, version: CwmpVersion) -> st.SearchStrategy[str]:
    """Texts of a kind; those with a form are few and known, so that the schema judges the form and not our guess."""
    pattern = kind.pattern
    if pattern is None:
        texts = st.text(CHARS, max_size=min(kind.most or 40, 40)) | st.just("x" * (kind.most or 4000))
        return texts.map(str.strip) if kind.trim else texts
    if pattern in SAMPLES:
        return st.sampled_from(SAMPLES[pattern])
    if "A-Fa-f0-9]{8}" in pattern:
        return st.uuids().map(str)
    if "%[0-9A-Fa-f]" in pattern:
        return st.sampled_from(["", "http://acs.example/a%20b?c=d&e=f", "ftp://u@h/x;y"])
    if pattern.endswith(r"\."):
        return st.text(CHARS.filter(lambda c: c not in "\r\n"), max_size=40).map(lambda t: f"{t}.")
    if "M " in pattern:
        known = ["0 BOOTSTRAP", "4 VALUE CHANGE", "M Reboot", "M X_00256D_Own", "X 00256D own"]
        return st.sampled_from(known if version in OLD else [*known, "13 WAKEUP", "X vendor own"])
    assert pattern.startswith(r"[1-9]\d*"), pattern
    if kind.old_pattern is not None and version in OLD:
        known = [each for each in kind.old_pattern.split("|") if each[0].isdigit()]
        return st.sampled_from([*known, "X 00256D own", "X 00256D "])
    return st.sampled_from(["1 Firmware Upgrade Image", "3 Vendor Configuration File 12", "1 At Any Time", "X v own"])


def of_kind(kind: fields.FieldKind, version: CwmpVersion) -> st.SearchStrategy[object]:
    match kind:
        case fields.Text():
            found: st.SearchStrategy[object] = text(kind, version)
            return found if kind.absent is not None else st.none() | found
        case fields.Number():
            ranges = kind.old_ranges.get(version, kind.ranges)
            if len(ranges) > 1 and version in OLD:
                # The schemas before 1.2 have the codes of faults one by one
                return st.sampled_from([9001, 9002, 9010, 9011, 9012] if ranges[0] == (0, 0) else [8000, 8005, 9000])
            ends = [end for each in ranges for end in each]
            return st.sampled_from(ends) | st.one_of([st.integers(*each) for each in ranges])
        case fields.Boolean():
            return st.booleans()
        case fields.Time():
            dates: st.SearchStrategy[object] = st.sampled_from(DATES)
            return dates if kind.absent is not None else st.none() | dates
        case fields.Typed():
            return value()
        case fields.Struct():
            return of_class(kind.cls, version)
        case fields.OneOf():
            return st.one_of([of_class(cls, version) for cls in kind.classes.values()])
        case fields.Array():
            items = of_kind(kind.kind, version)
            return st.lists(items, min_size=kind.least, max_size=min(kind.most or 3, 3)).map(tuple)
    raise AssertionError(kind)


def value() -> st.SearchStrategy[fields.Value]:
    by_type = {
        "string": st.text(CHARS, max_size=60),
        "int": st.integers(-values.INT - 1, values.INT).map(str),
        "unsignedInt": st.integers(0, values.UNSIGNED_INT).map(str),
        "long": st.integers(-(1 << 63), (1 << 63) - 1).map(str),
        "unsignedLong": st.integers(0, (1 << 64) - 1).map(str),
        "boolean": st.sampled_from(["0", "1", "true", "false"]),
        "dateTime": st.sampled_from(DATES),
        "base64": st.sampled_from(["", "QUJD", "QQ=="]),
        "base64Binary": st.sampled_from(["", "QUJD", "QQ=="]),
        "hexBinary": st.binary(max_size=8).map(bytes.hex),
    }
    assert by_type.keys() == values.TYPES.keys()
    return st.one_of([texts.map(lambda t, n=name: fields.Value(t, n)) for name, texts in by_type.items()])


@cache
def of_class(cls: type[T], version: CwmpVersion) -> st.SearchStrategy[T]:
    parts = {}
    for field in fields.fields_of(cls):
        kind = field.kind
        if isinstance(kind, fields.Repeated):
            parts[field.attribute] = st.lists(
                of_kind(kind.kind, version), min_size=kind.least, max_size=kind.least + 1
            ).map(tuple)
        else:
            parts[field.attribute] = of_kind(kind, version)
    return st.builds(cls, **parts)


def fault(version: CwmpVersion, least: int = 8000) -> st.SearchStrategy[Fault]:
    codes = [8000, 8005, 8800, 8899] + ([] if version is CwmpVersion.V1_0 else [8006, 8799])
    if least >= 9000:
        codes = [9000, 9013, 9800, 9899]
    parameter = st.builds(
        ParameterFault, st.text(CHARS, max_size=20).map(str.strip), st.just(9007), st.none() | st.text(CHARS)
    )
    parameters = st.lists(parameter, max_size=2 if least >= 9000 else 0).map(tuple)
    return st.builds(
        Fault, st.sampled_from(codes), st.none() | st.text(CHARS), parameters, st.sampled_from(["Client", "Server"])
    )


def names(version: CwmpVersion) -> list[str]:
    return sorted(name for name, cls in MESSAGES.items() if is_in(cls, version))


def message(name: str, version: CwmpVersion) -> st.SearchStrategy[Message]:
    if name == "Fault":
        return fault(version) | fault(version, 9000)
    return of_class(MESSAGES[name], version)
