"""Whatever bytes come from outside, each `*_untrusted` gives a value or its module's own error, nothing else.

Runs small with the tests and long with `make fuzz`. Inputs are arbitrary bytes, and real documents with bytes changed,
cut out and put in: those reach deeper.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import config
from agent.connectors.cwmp import auth
from agent.connectors.cwmp import envelope as cwmp_envelope
from agent.connectors.cwmp import messages as cwmp
from agent.connectors.cwmp.errors import CwmpError
from agent.connectors.cwmp.soap import Header
from agent.connectors.cwmp.versions import CwmpVersion
from agent.connectors.radius import codec
from agent.connectors.radius.errors import RadiusError
from agent.inventory import subscribers_csv
from agent.runtime import json_text
from agent.runtime.errors import MalformedJsonError
from control_plane.desk import remembered_checkpoints, trust_edit
from control_plane.errors import ControlPlaneError
from tests.agent.connectors.cwmp import reads
from tests.people import People, trusted
from trust import checkpoint, envelope, items, keys, leaf, proof, statements
from trust.checkpoint import Checkpoint
from trust.errors import TrustError
from trust.items import Head, Item, Listed, Pace, ReasonChange, SuspensionReason, Wave
from trust.keys import SigningKey
from trust.leaf import Leaf, LeafKind

KEY = SigningKey(bytes(range(32)))
ENTRY = trusted("1" * 32, "noc-1", KEY, "fuzz.local/agent/a", SigningKey(bytes(range(1, 33))))
TRUST = People().sign_trust(People().trust(ENTRY))[0]
HEAD = Head("1" * 32, "2" * 32, 1, {"change": 1}, (Wave(1, 1, 0),), Pace(2, 2, 10), "0" * 64, {"verb": "suspend"})
ITEM = Item(
    1,
    "2" * 32,
    "C-1/home",
    Listed.CHANGE,
    "",
    {"title": "Amina"},
    desired=(ReasonChange(SuspensionReason.DEBT, added=True),),
)
NOTE = checkpoint.sign_checkpoint(Checkpoint("fuzz.local/a", 1, bytes(32)), KEY, "fuzz.local/a")
LEAF = leaf.encode(
    Leaf(kind=LeafKind.START, minute=1, plan=bytes(32), trust_version=0, item=0, step=0, code=0, actor=bytes(16),
         commitment=bytes(32))
)  # fmt: skip
VKEY = checkpoint.encode_vkey("fuzz.local/a", KEY.public)
PROOF = proof.encode(proof.ProofFile(proof.ProvenLeaf(LEAF, 0, ()), NOTE, VKEY))
EXPORT = proof.encode_export(proof.Export(VKEY, NOTE, (proof.ProvenLeaf(LEAF, 0, ()),)))
SEALED = keys.seal_key(secrets.token_bytes(32), b"a passphrase", 1, 8192)
CSV = (
    b"subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of\n"
    b"C-1,A,home,a,p,t,,0,1.00,2026-01-01,,2026-01-02\n"
)
TOML = b'[agent]\nname = "noc-1"\nstate_dir = "state"\n[people]\n1000 = "maria"\n[policy]\ncanary = 5\n'
CWMP = cwmp_envelope.write(cwmp.Fault(9003, "no", (), "Client"), Header("1"), CwmpVersion.V1_2)


def _statement(data: bytes) -> object:
    return statements.decode_untrusted(statements.payload_type(statements.Trust), data)


def _toml(data: bytes) -> object:
    return config.parse_untrusted(data, Path("/agent.toml"), {})


TARGETS: dict[str, tuple[Callable[[bytes], object], bytes, tuple[type[Exception], ...]]] = {
    "envelope": (envelope.decode_untrusted, TRUST, (TrustError,)),
    "statement": (_statement, envelope.decode_untrusted(TRUST).payload, (TrustError,)),
    "head": (items.decode_head_untrusted, items.encode_head(HEAD), (TrustError,)),
    "item": (items.decode_item_untrusted, items.encode_item(ITEM), (TrustError,)),
    "value": (items.decode_value_untrusted, items.encode_value({"a": ("b", "c")}), (TrustError,)),
    "leaf": (leaf.decode_untrusted, LEAF, (TrustError,)),
    "note": (lambda b: checkpoint.open_note_untrusted(b, [checkpoint.parse_vkey_untrusted(VKEY)]), NOTE, (TrustError,)),
    "proof": (proof.verify_file_untrusted, PROOF, (TrustError,)),
    "export": (proof.verify_file_untrusted, EXPORT, (TrustError,)),
    "key file": (keys.sealed_public_untrusted, SEALED, (TrustError,)),
    "public key": (keys.check_public_untrusted, KEY.public, (TrustError,)),
    "heads": (remembered_checkpoints.decode_untrusted, b"{}", (ControlPlaneError, TrustError)),
    "draft": (
        trust_edit.decode_draft_untrusted,
        envelope.decode_untrusted(TRUST).payload,
        (ControlPlaneError, TrustError),
    ),
    "json": (json_text.decode_untrusted, b'{"a": [1, 2.5, null, "x"]}', (MalformedJsonError,)),
    "csv": (subscribers_csv.parse_untrusted, CSV, ()),
    "config": (_toml, TOML, (config.ConfigError,)),
    "xml": (reads.parse, CWMP, (CwmpError,)),
    "cwmp": (reads.read, CWMP, (CwmpError,)),
    "http authentication": (lambda b: auth.read_untrusted(b.decode("latin-1")), b'Digest realm="a", b=c', (CwmpError,)),
    "radius identifier": (codec.identifier_untrusted, bytes([41, 7, 0, 20]) + bytes(16), (RadiusError,)),
}


@st.composite
def mutated(draw: st.DrawFn, seed: bytes) -> bytes:
    """A real document with up to four places changed, cut out or filled."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        cut = draw(st.integers(0, 8))
        data[at : at + cut] = draw(st.binary(max_size=8))
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_total(name: str, data: st.DataObject) -> None:
    function, seed, errors = TARGETS[name]
    value = data.draw(st.one_of(st.binary(max_size=300), mutated(seed)))
    try:
        function(value)
    except errors:
        pass


@pytest.mark.parametrize("name", [n for n in TARGETS if n != "heads"])
def test_the_seeds_themselves_are_taken(name: str) -> None:
    function, seed, _ = TARGETS[name]
    function(seed)
