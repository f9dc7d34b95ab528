"""A CPE that posts anything: the readers and the session give values, events or our own errors, nothing else.

12,000 malformed bodies with the tests, a million with `make fuzz`: 10 × 20 for each example of Hypothesis' profile.
"""

from __future__ import annotations

import gc
import random
import secrets
import tracemalloc

import pytest
from hypothesis import settings

from agent.connectors.cwmp import digest, limits
from agent.connectors.cwmp.errors import (
    HeaderNotUnderstoodError,
    MalformedMessageError,
    MalformedSoapError,
    MalformedXmlError,
    UnknownMethodError,
)
from tests.fuzz import counting
from tests.fuzz.cwmp import BODIES, SEEDS, hear
from tests.marks import slow_unless

BODIES_PER_EXAMPLE = 20

BITS = [
    b"<", b">", b"</", b"/>", b"&", b"&amp;", b"&#0;", b"&#x1F600;", b"&x;", b"<!--", b"-->", b"<![CDATA[", b"]]>",
    b"<?", b"<!DOCTYPE a [", b"<!ENTITY e 'x'>", b'"', b"=", b":", b"\x00", b"\xff", b"\xc3\x28", b"\xef\xbb\xbf",
    b"\xfe\xff", b' xmlns=""', b' xmlns:cwmp="x"', b' encoding="utf-7"', b"<a>" * 40, b"</a>" * 40, b"9" * 30, b"-1",
    b"Response", b"<Fault>", b"<FaultCode>0</FaultCode>", b"<Status>1</Status>", b"<ID>x</ID>",
    b'<x soapenv:mustUnderstand="1"/>', b"Envelope", b"Body", b"<soapenv:Body>", b" a='1'" * 40, b"\r\n\t ",
]  # fmt: skip
HEADERS = [
    b'<x soapenv:mustUnderstand="1"/>', b"<cwmp:ID>2</cwmp:ID>", b"<cwmp:HoldRequests>x</cwmp:HoldRequests>",
    b"<cwmp:SessionTimeout>-1</cwmp:SessionTimeout>", b"<cwmp:SupportedCWMPVersions>,</cwmp:SupportedCWMPVersions>",
]  # fmt: skip


def body(dice: random.Random) -> bytes:
    """Return a body in which up to five places are changed, cut out or filled; sometimes it is noise alone."""
    if dice.random() < 0.05:
        return dice.randbytes(dice.randrange(80))
    seed = dice.choice(BODIES)
    sound = dice.random() < 0.5
    if sound:
        # The names of elements as they are, their contents not: what reaches the header and the fields
        pieces = seed.split(b"<")
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(1, len(pieces))
            name, _, text = pieces[at].partition(b">")
            pieces[at] = name + b">" + dice.choice([b"", b"-1", b"x", b"1", b"9" * 21, text + text])
        seed = b"<".join(pieces)
        if dice.random() < 0.2:
            where = dice.choice([b"<soapenv:Header>", b"<soapenv:Body>"])
            seed = seed.replace(where, where + dice.choice(HEADERS))
        if dice.random() < 0.1:
            seed = seed.replace(b"Response", b"Respond")
    data = bytearray(seed)
    for _ in range(dice.randrange(2) if sound else dice.randrange(6)):
        at = dice.randrange(len(data) + 1)
        fill = dice.choice(BITS) if dice.random() < 0.5 else dice.randbytes(dice.randrange(3))
        cut = dice.choice([0, 1, 3, 20])
        if dice.random() < 0.2:
            other = dice.choice(BODIES)
            begin = dice.randrange(len(other))
            fill = other[begin : begin + dice.randrange(200)]
        data[at : at + cut] = fill
    return bytes(data)


def play(dice: random.Random, count: int) -> dict[str, int]:
    ends: dict[str, int] = {}
    for _ in range(count):
        data = body(dice)
        try:
            end = hear(data)
        except Exception as err:  # noqa: BLE001  any at all is what this looks for
            pytest.fail(f"{type(err).__name__}: {err} from {data!r}")
        ends[end] = ends.get(end, 0) + 1
    counting.add(counting.INPUTS, count)
    return ends


@pytest.mark.parametrize("part", slow_unless(lambda part: part == 0, range(10)))  # each within the time that a test has
def test_malformed_bodies_by_the_thousand(part: int) -> None:
    examples = settings().max_examples
    seed = secrets.randbits(64) if examples > 1000 else part
    print(f"seed {seed}")
    ends = play(random.Random(seed), examples * BODIES_PER_EXAMPLE)
    # Each error and each seed's method is reached often: the bodies are neither all noise nor all sound
    errors = (
        MalformedXmlError,
        MalformedSoapError,
        MalformedMessageError,
        UnknownMethodError,
        HeaderNotUnderstoodError,
    )
    wanted = [e.__name__ for e in errors] + [type(message).__name__ for message, _ in SEEDS]
    assert min(ends.get(end, 0) for end in wanted) >= examples / 60, ends


@pytest.mark.slow
def test_memory_does_not_grow() -> None:
    dice = random.Random(2)
    play(dice, 200)
    tracemalloc.start()
    held = []
    for count in (100, 100, 500):
        play(dice, count)
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[2] - held[1] < 10_000, f"bytes held after 100, 200 and 700 bodies: {held}"


def test_authentication_by_the_thousand() -> None:
    dice = random.Random(3)
    gate = digest.DigestGate("acs", bytes(32), algorithms=("SHA-256", "MD5"), basic=True)
    (first, *_) = gate.challenges(1000.0, b"12345678")
    sound = digest.credentials_untrusted([first], "POST", "/acs", "u", "p", "00")
    for _ in range(settings().max_examples * 20):
        text = bytearray(sound.encode())
        for _ in range(dice.randrange(1, 5)):
            at = dice.randrange(len(text))
            text[at : at + dice.randrange(3)] = dice.choice([b'"', b",", b"=", b"\\", b" ", dice.randbytes(1)])
        header = text.decode("latin-1")
        got = gate.judge_untrusted(header, "POST", "/acs", {"u": "p"}.get, 1000.0)
        assert isinstance(got, digest.DigestRejected | digest.DigestAccepted)
        assert len(header) < limits.HEADER_CHARS
