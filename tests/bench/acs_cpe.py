"""CPE for the benchmarks of the ACS: what they send is made once, by the lab's CPE, and only numbered here. Pure.

A session is a generator: it gives the bytes of a request and is sent the answer to it. Who moves the bytes is another
matter: `acs_load` does it over sockets, `acs_fleet` in memory.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from dataclasses import dataclass

from lab.cpe.device import Device
from lab.cpe.model import Model
from lab.cpe.state import Identity
from lab.cpe.tr181 import tr181
from tests.bench.processes import BenchError

USER, PASSWORD = "cpe", "shared-by-all-new-cpe"
OUI, PRODUCT_CLASS, SOFTWARE = "02AC5F", "LabGate", "1.0.0"
SSID = "Device.WiFi.SSID.1.SSID"
HOSTS = "Device.Hosts.Host."
PATH = "/acs"
_SERIAL, _ID = "@SERIAL@", "@ID@"
_ENVELOPE = (
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" xmlns:cwmp="urn:dslforum-org:cwmp-1-2"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
    f'<soapenv:Header><cwmp:ID soapenv:mustUnderstand="1">{_ID}</cwmp:ID></soapenv:Header>'
    "<soapenv:Body>%s</soapenv:Body></soapenv:Envelope>"
)
_INFORMED = "<cwmp:InformResponse><MaxEnvelopes>1</MaxEnvelopes></cwmp:InformResponse>"
_SET = (
    '<cwmp:SetParameterValues><ParameterList soapenc:arrayType="cwmp:ParameterValueStruct[1]"><ParameterValueStruct>'
    f'<Name>{SSID}</Name><Value xsi:type="xsd:string">home</Value></ParameterValueStruct></ParameterList>'
    "<ParameterKey>k</ParameterKey></cwmp:SetParameterValues>"
)
_GET = (
    '<cwmp:GetParameterValues><ParameterNames soapenc:arrayType="xsd:string[1]"><string>Device.</string>'
    "</ParameterNames></cwmp:GetParameterValues>"
)
_ANSWER_ID = re.compile(rb"ID[^>]*>([^<]*)<")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NONCE = re.compile(rb'nonce="([^"]*)"')
_REALM = re.compile(rb'realm="([^"]*)"')
_COOKIE = re.compile(rb"\r\nset-cookie: *([^;\r]*)", re.IGNORECASE)
_RETRY = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)


def serial(number: int) -> str:
    """Return a CPE's serial number, eight characters."""
    return f"{number:08X}"


def name(number: int) -> str:
    """Return a CPE's name in the inventory."""
    return f"{OUI}-{PRODUCT_CLASS}-{serial(number)}"


def device(model: Model) -> Device:
    """Return a CPE of the lab that is on and has had no session."""
    made = Device(
        Identity(_SERIAL, oui=OUI, product_class=PRODUCT_CLASS, software=SOFTWARE),
        model,
        url=f"http://127.0.0.1{PATH}",
        username=USER,
        password=PASSWORD,
        interval_s=300,
    )
    made.boot()
    return made


@dataclass(frozen=True, slots=True)
class Said:
    """What every CPE says: templates, with marks for its serial number and the ID that it repeats."""

    periodic: bytes
    booted: bytes
    was_set: bytes
    tree: bytes
    parameters: int

    def inform(self, number: int, *, booted: bool) -> bytes:
        """Return the Inform of a CPE."""
        return (self.booted if booted else self.periodic).replace(_SERIAL.encode(), serial(number).encode())

    def answer(self, request: bytes) -> bytes:
        """Return the CPE's answer to a request."""
        found = _ANSWER_ID.search(request)
        if b":SetParameterValues>" in request:
            answer = self.was_set
        elif b":GetParameterValues>" in request:
            answer = self.tree
        else:
            raise BenchError(f"expected a request that the bench knows, got {request[:300]!r}")
        return answer.replace(_ID.encode(), found[1] if found else b"", 1)


def said(rows: int = 0) -> Said:
    """Return what CPE say. `rows`: of a table that makes the tree as large as wanted, some eight parameters each."""
    cpe = device(tr181().grown(HOSTS, rows) if rows else tr181())
    cpe.begin_session()
    _ask(cpe, _INFORMED)
    was_set = _ask(cpe, _SET)
    tree = _ask(cpe, _GET)
    cpe.finish(ok=True)
    cpe.add_event("2 PERIODIC")
    periodic = cpe.begin_session()
    _ask(cpe, _INFORMED)
    cpe.finish(ok=True)
    cpe.power_cut()
    cpe.boot()
    return Said(periodic, cpe.begin_session(), was_set, tree, tree.count(b"<Name>"))


def _ask(cpe: Device, method: str) -> bytes:
    answer = cpe.receive((_ENVELOPE % method).encode())
    if answer is None:
        raise BenchError("the lab's CPE hung up")
    return answer


# --- HTTP -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP response. `head` begins with the status line."""

    status: int
    head: bytes
    body: bytes


def take_answer(got: bytearray) -> Answer | None:
    """Return the response that stands at the beginning, and remove it; None while it is not whole."""
    end = got.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(got[:end])
    length = _LENGTH.search(head)
    whole = end + 4 + (int(length[1]) if length else 0)
    if len(got) < whole:
        return None
    answer = Answer(int(head[9:12]), head, bytes(got[end + 4 : whole]))
    del got[:whole]
    return answer


def post(body: bytes, more: bytes = b"") -> bytes:
    """Return a POST."""
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:7547\r\nUser-Agent: lab\r\n"
        f'Content-Type: text/xml; charset="utf-8"\r\nSOAPAction: ""\r\nContent-Length: {len(body)}\r\n'
    ).encode() + b"%b\r\n%b" % (more, body)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()


def proof(challenge: bytes) -> bytes:
    """Return the Authorization field that answers a 401 (RFC 7616, MD5, qop auth)."""
    nonce, realm = _NONCE.search(challenge), _REALM.search(challenge)
    if nonce is None or realm is None:
        raise BenchError(f"expected a Digest challenge, got {challenge!r}")
    ha1, ha2 = _md5(b"%b:%b:%b" % (USER.encode(), realm[1], PASSWORD.encode())), _md5(f"POST:{PATH}".encode())
    response = _md5(b"%b:%b:00000001:0a4f113b:auth:%b" % (ha1, nonce[1], ha2))
    return (
        b'Authorization: Digest username="%b", realm="%b", nonce="%b", uri="%b", algorithm=MD5, response="%b",'
        b' qop=auth, nc=00000001, cnonce="0a4f113b"\r\n' % (USER.encode(), realm[1], nonce[1], PATH.encode(), response)
    )


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """The ACS is full. `retry_s`: after so many seconds it may be asked again."""

    retry_s: float


def session(
    what: Said, number: int, *, booted: bool = False, stay: bool = False
) -> Generator[bytes, Answer, TurnedAway | None]:
    """Give the requests of one session; return None once it is over as it should be.

    `stay`: it ends with the answer to the Inform; whoever keeps its connection keeps its session.

    Raises:
        BenchError: the ACS said something else than it should.
    """
    inform = what.inform(number, booted=booted)
    answer = yield post(inform)
    if answer.status == 401:
        answer = yield post(inform, proof(answer.head))
    if answer.status == 503:
        retry = _RETRY.search(answer.head)
        if retry is None:
            raise BenchError("expected a Retry-After with 503")
        return TurnedAway(float(retry[1]))
    _expect(answer, 200, b"InformResponse")
    cookie = _COOKIE.search(answer.head)
    if cookie is None:
        raise BenchError("expected a cookie with the answer to an Inform")
    more = b"Cookie: %b\r\n" % cookie[1]
    if stay:
        return None
    answer = yield post(b"", more)
    while answer.status == 200 and answer.body:
        answer = yield post(what.answer(answer.body), more)
    _expect(answer, 204, b"")
    return None


def _expect(answer: Answer, status: int, word: bytes) -> None:
    if answer.status != status or word not in answer.body:
        raise BenchError(f"expected {status} {word.decode()}, got {answer.status}: {answer.body[:300]!r}")
