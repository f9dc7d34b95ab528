"""A harness for every function that reads what others wrote: how it is called, what it is given, how it may refuse.

A harness calls one function or several; `test_total` proves, by running them, that none is left out.
"""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import gzip
import hashlib
import io
import ipaddress
import itertools
import json
import shutil
import tempfile
import types
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import cast

import grpc
import h11
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from google.protobuf.message import DecodeError

from agent import config, config_fleet
from agent.billing import hooks_listener
from agent.billing_model import days, hmac_hooks, money, records, tables
from agent.billing_model.errors import BillingError
from agent.billing_model.hooks import Heard, HookCall, HookScheme
from agent.changes.auditlog.own_board import OwnBoard
from agent.changes.journal.audit import Recorder
from agent.changes.journal.signing import Signer
from agent.changes.journal.trust_state import TrustState
from agent.changes.remote import inbox_handler, sealing
from agent.connectors.cwmp import (
    auth,
    connection_request,
    connection_request_session,
    digest,
    http_text,
    salvage,
    simple_types,
    stun,
    traces,
    xml_tree,
)
from agent.connectors.cwmp.connection_request import HttpTarget, RequestReach
from agent.connectors.cwmp.errors import CwmpError
from agent.connectors.daraja import transactions as daraja_rows
from agent.connectors.daraja.hooks import DarajaScheme
from agent.connectors.librenms import rows as librenms_rows
from agent.connectors.librenms.errors import LibrenmsError
from agent.connectors.paystack import hooks as paystack_hooks
from agent.connectors.paystack import transactions as paystack_rows
from agent.connectors.radius import codec
from agent.connectors.radius.dictionary import load, profile
from agent.connectors.radius.dynauth import DynAuthClient
from agent.connectors.radius.errors import RadiusError
from agent.connectors.routeros import fleet_file
from agent.connectors.routeros.errors import FleetFileError
from agent.connectors.routeros.versions import MalformedVersionError, Version
from agent.connectors.snmp import recording
from agent.connectors.snmp.errors import SnmpError
from agent.connectors.splynx import accounts as splynx_accounts
from agent.connectors.splynx import hooks as splynx_hooks
from agent.connectors.stripe_payments import charges
from agent.connectors.stripe_payments import hooks as stripe_hooks
from agent.connectors.uisp_crm import accounts as crm_accounts
from agent.connectors.uisp_crm.hooks import CrmScheme
from agent.cpe_model.known import Credentials
from agent.inventory import subscribers_csv
from agent.line_model import serials
from agent.lines import mapping
from agent.runtime import http, json_text, web_session
from agent.runtime.errors import HttpError, MalformedJsonError
from agent.runtime.http_quick import QuickHead, quick_head
from agent.runtime.notifier import Notifier
from agent.store.db import Store
from agent.store.mark_file import SLOT_BYTES, MarkFile
from agent.store.vault import StoredSealing, Vault
from agent.update.errors import UpdateError
from agent.update.offers import Package, encode_offer, read_lowest_untrusted, read_offer_untrusted
from agent.uplink import enrolment, wire
from agent.uplink.errors import UplinkError
from backups import archive
from backups import sealing as age
from backups.errors import BackupError, DamagedBackupError
from control_plane import certificates, members
from control_plane import config as config_cloud
from control_plane.auth import Auth, IdentityKind
from control_plane.desk import cloud_identity, exported, memory, remembered_checkpoints, trust_edit
from control_plane.errors import ControlPlaneError
from control_plane.store import CloudStore
from control_plane.witness import CloudWitness
from protos import PROBLEM_KEY, channel, member_files, message_pb2
from protos.member_files import AGENTS, AT_DESKS
from tests.agent.connectors.cwmp.stun_messages import MODERN_CLAIM, REQUEST
from tests.agent.connectors.radius.fakes import SECRET, error_cause, reply
from tests.agent.uplink.rig import make_identity
from tests.builders import reads
from tests.builders.cloud import AGENT as CLOUD_AGENT
from tests.builders.cloud import NOW as CLOUD_NOW
from tests.builders.cloud import Authority as CloudAuthority
from tests.builders.cloud import Broken
from tests.builders.expect import expect
from tests.control_plane.enrolling import NOW, config_text, csr
from tests.fuzz import cwmp, routeros, snmp_messages
from tests.protos.members import NORTH, PERSON, WHOLE
from tests.trust.tales import honest
from trust import (
    answer,
    checkpoint,
    cpe_settings,
    document,
    envelope,
    items,
    keys,
    leaf,
    merkle,
    moments,
    proof,
    seal,
    sealed_secret,
    statements,
    story,
    strict_json,
    witness,
)
from trust.answer import ViewAnswer
from trust.checkpoint import Checkpoint
from trust.errors import TrustError
from trust.items import ReasonChange, SuspensionReason
from trust.keys import SigningKey
from trust.leaf import Leaf, LeafKind
from trust.seal import SealingKey

VECTORS = Path(__file__).parents[1] / "trust" / "vectors" / "v0"
KEY, SEALING = SigningKey(bytes(range(32))), SealingKey(b"\1" * 32)
VIEW, HEX, DAY_S = b"v" * 16, "0a" * 16, 86_400


@dataclass(frozen=True, slots=True)
class Harness:
    """`call` takes bytes of others, `seeds` are what it takes gladly; `share` of the inputs: the slow have fewer."""

    call: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    errors: tuple[type[Exception], ...] = ()
    share: float = 1.0


HARNESSES: dict[str, Callable[[], Harness]] = {}
Make = Callable[[], Harness]


def harness(name: str) -> Callable[[Make], Make]:
    """Put a harness into the list. It is made when it is first used."""

    def add(make: Make) -> Make:
        HARNESSES[name] = cache(make)
        return make

    return add


def simple(
    name: str,
    call: Callable[[bytes], object],
    *seeds: bytes | str,
    errors: type[Exception] | tuple[type[Exception], ...] = TrustError,
    share: float = 1.0,
) -> None:
    """Put a harness into the list that needs nothing to be made."""
    taken = tuple(s.encode() if isinstance(s, str) else s for s in seeds)
    made = Harness(call, taken, errors if isinstance(errors, tuple) else (errors,), share)
    HARNESSES[name] = lambda: made


def read(data: bytes) -> str:
    """Return bytes as a text; what is no UTF-8 is ISO 8859-1, as in a field of HTTP."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def text(function: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: function(read(data))


def lines(function: Callable[[list[str]], object]) -> Callable[[bytes], object]:
    return lambda data: function(read(data).split("\n"))


def vectors(*names: str) -> tuple[bytes, ...]:
    return tuple((VECTORS / name).read_bytes() for name in names)


@cache
def folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="fuzz-harness-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


# --- trust -----------------------------------------------------------------------------------------------------------

STATEMENTS = sorted(json.loads((VECTORS / "index.json").read_text())["digests"])
SIGNED = vectors(*(f"{n}.json" for n in STATEMENTS))
PAYLOADS = tuple(envelope.decode_untrusted(data).payload for data in SIGNED)
TYPES = sorted({envelope.decode_untrusted(data).payload_type for data in SIGNED})
TALE = honest()
NOTE = checkpoint.sign_checkpoint(Checkpoint("fuzz.local/a", 1, bytes(32)), KEY, "fuzz.local/a")
VKEY = checkpoint.encode_vkey("fuzz.local/a", KEY.public)
WITNESS_VKEY = checkpoint.encode_witness_vkey("w", KEY.public)
COSIGNED = checkpoint.cosign(Checkpoint("fuzz.local/a", 1, bytes(32)).text(), "w", KEY, 1_700_000_000)
LEAF = leaf.encode(Leaf(LeafKind.START, 1, bytes(32)))
PROOF = proof.encode(proof.ProofFile(proof.ProvenLeaf(LEAF, 0, ()), NOTE, VKEY))
EXPORTED = json.loads((VECTORS / "items.json").read_text())
DOCUMENTS = tuple(d.encode() for d in EXPORTED["documents"])
ADDED = ReasonChange(SuspensionReason.DEBT, added=True)
RECORD = b'{"statement_sha256": "' + b"0a" * 32 + b'", "plan_leaves": 7}'


def _statement(data: bytes) -> object:
    for kind in TYPES[:-1]:
        try:
            return statements.decode_untrusted(kind, data)
        except TrustError:
            continue
    return statements.decode_untrusted(TYPES[-1], data)


def _as_trust(data: bytes) -> object:
    return statements.decode_as_untrusted(document.Trust, envelope.decode_untrusted(data))


simple("billing.amount", text(money.amount_untrusted), "-34.00", errors=BillingError)
simple(
    "billing.minor",
    text(lambda t: money.from_minor_untrusted(int(t) if len(t) < 99 and t.isdecimal() else t, "USD")),
    "3400",
    errors=BillingError,
)
simple("billing.currency", text(money.currency_untrusted), "USD", errors=BillingError)
simple("billing.when", text(lambda t: days.when_untrusted(t, UTC)), "2026-11-27T00:00:00+0200", errors=BillingError)
simple("billing.hook-json", hmac_hooks.object_untrusted, b'{"id": "a", "data": [1.5]}', errors=BillingError)


def hooks(scheme: HookScheme, header: str, sign: Callable[[bytes], str]) -> Callable[[bytes], object]:
    """Return a function that gives a scheme its input as a signed body, and then as the header."""

    def call(data: bytes) -> Heard:
        with suppress(BillingError):
            scheme.hear_untrusted(HookCall({header: read(data)}, b"{}", "192.0.2.1"), 1.7e9)
        return scheme.hear_untrusted(HookCall({header: sign(data)}, data, "192.0.2.1"), 1.7e9)

    return call


def _stripe(data: bytes) -> str:
    style = hmac_hooks.HmacStyle(stripe_hooks.HEADER, hmac_hooks.HookHash.SHA256)
    return f"t=1700000000,v1={hmac_hooks.signature(style, b'whsec', b'1700000000.' + data)}"


_GENERIC = hmac_hooks.HmacStyle("x-signature", hmac_hooks.HookHash.SHA1, hmac_hooks.HookEncoding.BASE64, "v=")
simple(
    "billing.stripe",
    hooks(stripe_hooks.StripeScheme([b"whsec"]), stripe_hooks.HEADER, _stripe),
    b'{"id":"evt_1","type":"charge.refunded","data":{"object":{"object":"charge","id":"ch_1"}}}',
    errors=BillingError,
)
simple(
    "billing.paystack",
    hooks(
        paystack_hooks.PaystackScheme([b"sk"]),
        paystack_hooks.STYLE.header,
        lambda data: hmac_hooks.signature(paystack_hooks.STYLE, b"sk", data),
    ),
    b'{"event":"charge.success","data":{"id":1,"reference":"a-1"}}',
    errors=BillingError,
)


def _crm(data: bytes) -> object:
    """Read a record of UISP CRM, or its options, as each of the kinds that there are."""
    value = json_text.decode_exact_untrusted(data)
    record = records.record_untrusted(value, "record")
    found: list[object] = []
    for read_as in (
        lambda: crm_accounts.options_untrusted(value),
        lambda: crm_accounts.client_untrusted(record, "attribute:login"),
        lambda: crm_accounts.invoice_untrusted(record, UTC),
        lambda: crm_accounts.payment_untrusted(record, UTC),
    ):
        with suppress(BillingError):
            found.append(read_as())
    return found


simple(
    "billing.uisp-crm",
    _crm,
    b'{"appTimezone":"Africa/Kampala","suspendEnabled":true,"stopServiceDue":true,"stopServiceDueDays":3}',
    b'{"id":1,"accountBalance":-3.5,"accountCredit":0,"attributes":[{"key":"login","value":"a"}],"stopServiceDue":null}',
    b'{"clientId":1,"amountToPay":3.5,"status":"1","dueDate":"2026-11-27T00:00:00+0200","number":"7"}',
    b'{"id":1,"amount":3.5,"createdDate":"2026-11-27T00:00:00+0200","paymentCovers":[{"refundId":1,"amount":1}]}',
    errors=(BillingError, MalformedJsonError),
)


def _splynx(data: bytes) -> object:
    """Read a record of Splynx as each of the kinds that there are."""
    value = json_text.decode_exact_untrusted(data)
    record = records.record_untrusted(value, "record")
    found: list[object] = []
    for read_as in (
        lambda: splynx_accounts.customer_untrusted(record, "attribute:contract"),
        lambda: splynx_accounts.invoice_untrusted(record, UTC),
        lambda: splynx_accounts.billing_untrusted(value),
        lambda: splynx_accounts.payment_untrusted(record, UTC, "USD", "field_1"),
    ):
        with suppress(BillingError):
            found.append(read_as())
    return found


simple(
    "billing.splynx",
    _splynx,
    b'{"id":"1","login":"a","status":"active","additional_attributes":{"contract":"C-1"}}',
    b'{"customer_id":1,"due":"3.5000","status":"not_paid","date_till":"2026-11-27","number":"7"}',
    b'{"deposit":"-3.5000","enabled":"1","blocking_period":"0","min_balance":"-1.0000"}',
    b'{"id":1,"customer_id":0,"amount":"-3.5000","date":"2026-11-27","receipt_number":"K-9"}',
    errors=(BillingError, MalformedJsonError),
)


def _librenms(data: bytes) -> object:
    """Read an answer of LibreNMS, and its rows as each of the kinds that there are."""
    found: list[object] = []
    listed = librenms_rows.list_untrusted(json_text.decode_exact_untrusted(data), "rows", "GET /rows")
    with suppress(LibrenmsError):
        found.append(librenms_rows.down_since_untrusted(listed))
    for row in listed:
        for read_as in (
            lambda row: librenms_rows.device_untrusted(row, UTC),
            librenms_rows.port_untrusted,
            lambda row: librenms_rows.bridge_mac_untrusted(row, UTC),
            librenms_rows.arp_mac_untrusted,
            librenms_rows.link_untrusted,
            lambda row: librenms_rows.sensor_untrusted(row, UTC),
        ):
            with suppress(LibrenmsError):
                found.append(read_as(row))
    return found


simple(
    "librenms.rows",
    _librenms,
    b'{"rows":[{"device_id":1,"hostname":"h","sysObjectID":".1.3.6.1.4.1.9","status":1,"uptime":9}]}',
    b'{"rows":{"0":{"port_id":7,"ifIndex":3,"ifName":"ge-0-7","ifOperStatus":"up","ifSpeed":1000000000,"deleted":0}}}',
    b'{"rows":[{"mac_address":"00259e484857","port_id":7,"vlan_id":5,"updated_at":"2026-11-28 10:00:00"}]}',
    b'{"rows":[{"local_port_id":7,"remote_device_id":2,"remote_hostname":"sw-3","remote_port":"1","active":1}]}',
    b'{"rows":[{"sensor_id":1,"device_id":1,"sensor_class":"dbm","sensor_current":-21.5,"sensor_index":"7"}]}',
    b'{"rows":[{"going_down":1764000000,"up_again":null}]}',
    errors=(LibrenmsError, MalformedJsonError),
)
simple(
    "update.offer",
    lambda data: read_offer_untrusted(data, Package("ispagent", "0.1.0", "13", "amd64")),
    encode_offer(Package("ispagent", "0.2.0", "13", "amd64")),
    errors=UpdateError,
)
simple(
    "update.lowest",
    lambda data: read_lowest_untrusted({"lowest": data.decode("latin-1")}, "pool"),
    b"0.1.0~git20261128.59abcb1-0ispagents1",
    errors=UpdateError,
)
simple(
    "billing.splynx-hook",
    hooks(
        splynx_hooks.SplynxScheme([b"s"]),
        splynx_hooks.STYLE.header,
        lambda data: hmac_hooks.signature(splynx_hooks.STYLE, b"s", data),
    ),
    b'{"type":"event","data":{"event":"create","model":"a\\\\Payments","attributes":{"id":9,"customer_id":42}}}',
    b'{"type":"ping"}',
    errors=BillingError,
)
simple(
    "billing.records",
    lambda data: records.records_untrusted(json_text.decode_exact_untrusted(data), "row"),
    b'[{"id":1}]',
    errors=(BillingError, MalformedJsonError),
)
simple(
    "billing.uisp-crm-hook",
    hooks(CrmScheme(), "x", str),
    b'{"uuid":"2c6984d7-03ae-4e48-a212-7b99378837a2","changeType":"insert","entity":"payment","entityId":1}',
    errors=BillingError,
)


def _table(table: Callable[[list[str], list[list[str]]], object]) -> Callable[[bytes], object]:
    """Return a function that takes the first line for the columns and the others for rows."""

    def call(data: bytes) -> object:
        columns, *rows = [line.split(",") for line in read(data).split("\n")]
        return table(columns, rows)

    return call


simple(
    "billing.accounts",
    _table(lambda columns, rows: tables.accounts_untrusted(columns, rows, UTC, 1.8e9)),
    "subscriber,balance,due,unpaid,exempt,as_of\nC-1,34.00,2026-11-27,34.00,no,2026-11-27T10:00:00Z",
    errors=BillingError,
)
simple(
    "billing.payments",
    _table(lambda columns, rows: tables.payments_untrusted(columns, rows, UTC)),
    "id,amount,paid_at,state\n1,34.00,2026-11-27,settled",
    errors=BillingError,
)


def _payment_rows(data: bytes) -> object:
    """Read a record as each kind of object of Stripe, Paystack and Daraja."""
    record = records.record_untrusted(json_text.decode_exact_untrusted(data), "record")
    found: list[object] = []
    for read_as in (
        lambda: charges.charge_untrusted(record, UTC, "login", ["won"]),
        lambda: charges.charge_of_untrusted(record),
        lambda: paystack_rows.transaction_untrusted(record, UTC, "login", Decimal(1), is_disputed=False),
        lambda: paystack_rows.refund_untrusted(record),
        lambda: paystack_rows.dispute_untrusted(record),
        lambda: daraja_rows.rows_untrusted(record),
        lambda: daraja_rows.payment_untrusted(record, "KES"),
    ):
        with suppress(BillingError):
            found.append(read_as())
    return found


simple(
    "billing.payment-rows",
    _payment_rows,
    b'{"id":"ch_1","status":"succeeded","captured":true,"amount":1,"amount_captured":1,"amount_refunded":0,"currency":"u'
    b'sd","created":1700000000,"metadata":{"login":"C-1"},"customer":"cus_1","payment_intent":"pi_1","refunded":false}',
    b'{"id":"evt_1","data":{"object":{"object":"refund","charge":"ch_1"}}}',
    b'{"id":1,"status":"success","reference":"r","amount":1,"currency":"NGN","paid_at":"2026-11-27T10:00:00.000Z","metad'
    b'ata":{"login":"C-1","custom_fields":[{"value":"a"}]},"customer":{"customer_code":"CUS_1"}}',
    b'{"id":1,"status":"processed","transaction_reference":"r","amount":1,"currency":"NGN"}',
    b'{"id":1,"status":"resolved","resolution":"declined","transaction":{"reference":"r"}}',
    b'{"ResponseCode":"1000","Response":[[{"transactionId":"RKT0000001"}]]}',
    b'{"transactionId":"RKT0000001","trxDate":"2026-11-27T10:00:00Z","transactiontype":"c2b-pay-bill-debit","amount":"1"}',
    errors=(BillingError, MalformedJsonError),
)
simple(
    "line.mapping",
    lambda data: mapping.read_map_untrusted(data, "lines.csv"),
    b"service,device,part\nC-1/home,olt-1,0/1/3\n",
    '\ufeffpart;service,device,part,service\r\n"a,b',
    errors=(),
)
simple("line.onu-serial", serials.onu_serial_untrusted, b"HWTC\x1a\x2b\x3c\x4d", "485754431A2B3C4D", errors=())
simple("billing.forwarded", text(hooks_listener._forwarded_untrusted), "192.0.2.1, 2001:db8::1", errors=())
simple("billing.daraja", hooks(DarajaScheme(), "x", str), b'{"TransID":"RKTQDM7W6S"}', errors=BillingError)
simple(
    "billing.generic-hook",
    hooks(
        hmac_hooks.HmacScheme(_GENERIC, [b"s"]),
        "x-signature",
        lambda data: "v=" + hmac_hooks.signature(_GENERIC, b"s", data),
    ),
    b"anything",
    errors=BillingError,
)
simple("trust.envelope", envelope.decode_untrusted, *SIGNED)
simple("trust.statement", _statement, *PAYLOADS)
simple("trust.statement-of-a-kind", _as_trust, *vectors("trust.json"))
simple("trust.leaf", leaf.decode_untrusted, LEAF)
simple("trust.value", items.decode_value_untrusted, items.encode_value({"a": ("b", "c")}))
simple("trust.note", lambda b: checkpoint.open_note_untrusted(b, [checkpoint.parse_vkey_untrusted(VKEY)]), NOTE)
simple(
    "trust.checkpoint", lambda b: checkpoint.open_checkpoint_untrusted(b, checkpoint.parse_vkey_untrusted(VKEY)), NOTE
)
simple("trust.checkpoint-text", text(checkpoint.read_checkpoint_untrusted), NOTE.partition(b"\n\n")[0] + b"\n")
simple("trust.moment", text(moments.unix_of_rfc3339_untrusted), "2026-11-26T14:05:00+03:00", errors=ValueError)
simple("trust.vkey", text(checkpoint.parse_vkey_untrusted), VKEY)
simple("trust.witness-vkey", text(checkpoint.parse_witness_vkey_untrusted), WITNESS_VKEY)
simple(
    "trust.cosignature",
    text(
        lambda t: checkpoint.verify_cosignature_untrusted(
            t, Checkpoint("fuzz.local/a", 1, bytes(32)).text(), checkpoint.parse_witness_vkey_untrusted(WITNESS_VKEY)
        )
    ),
    COSIGNED,
)
simple("trust.proof", proof.verify_file_untrusted, PROOF, *vectors("proof.txt"))
simple("trust.json", lambda b: strict_json.read_object_untrusted(b, 5000, "it").done(), b"{}")
simple("trust.record", partial(story.read_record_untrusted, LeafKind.CHANGE_FINISHED), RECORD)
simple("trust.image", text(cpe_settings.read_image_untrusted), "image.bin:1.2.3")
simple("trust.rings", text(cpe_settings.read_rings_untrusted), "1,10,50")
simple("trust.changes", lines(items.read_changes_untrusted), "\n".join(items.write_changes([ADDED])))
simple("trust.public-key", keys.check_public_untrusted, KEY.public)
simple("trust.sealing-key", seal.check_sealing_public_untrusted, SEALING.public)
simple("trust.words", text(keys.parse_words_untrusted), keys.words(bytes(32)))
simple("trust.witness-request", witness.decode_request_untrusted, b"old 0\n\n" + NOTE)
simple(
    "trust.answer",
    answer.decode_untrusted,
    answer.encode(
        ViewAnswer("K7QF", (b"head", b"item"), b"note", 3, (b"h" * 32,), (b"link",), (("joseph", "approve"),))
    ),
)
simple("trust.seal", lambda b: seal.open_sealed_untrusted(b, [SEALING]), seal.seal(b"a body", SEALING.public))
simple(
    "trust.pages",
    lambda b: seal.open_pages_untrusted(VIEW, SEALING, [b]),
    *seal.seal_pages(VIEW, SEALING.public, b"content"),
)
simple(
    "trust.secret",
    text(
        lambda t: sealed_secret.open_secret_untrusted(t, HEX, "k", lambda b: seal.open_sealed_untrusted(b, [SEALING]))
    ),
    sealed_secret.seal_secret(HEX, "k", "secret", SEALING.public),
)


@harness("trust.export")
def _export() -> Harness:
    return Harness(
        proof.verify_file_untrusted, (proof.encode_export(TALE.export()), *vectors("export.jsonl")), (TrustError,), 0.05
    )


@harness("trust.key-file")
def _key_file() -> Harness:
    sealed = keys.seal_key(bytes(32), b"a passphrase", 1, 8192)

    def call(data: bytes) -> object:
        public = keys.sealed_public_untrusted(data)
        cost = json.loads(data)
        # What argon2 costs is bounded by limits, and is a lot: here it costs what it costs in the seed
        return keys.open_key_untrusted(data, b"a passphrase") if (cost["ops"], cost["mem"]) == (1, 8192) else public

    return Harness(call, (sealed,), (TrustError,))


@harness("trust.items")
def _items() -> Harness:
    plan = json.loads(PAYLOADS[STATEMENTS.index("plan")])
    root = bytes.fromhex(plan["items_root"])

    def call(data: bytes) -> object:
        first = (items.decode_head_untrusted if b"items_n" in data else items.decode_item_untrusted)(data)
        return first, items.open_items_untrusted([data, *DOCUMENTS[1:]], root, plan["plan_id"])

    return Harness(call, DOCUMENTS[:1], (TrustError,))


@harness("trust.item")
def _item() -> Harness:
    return Harness(items.decode_item_untrusted, (*DOCUMENTS[1:], *vectors("item-every-field.json")), (TrustError,))


# --- agent ------------------------------------------------------------------------------------------------------------

CSV = (
    b"subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of\n"
    b"C-1,A,home,a,p,t,,0,1.00,2026-01-01,,2026-01-02\n"
)
TOML = b'[agent]\nname = "noc-1"\nstate_dir = "state"\n[people]\n1000 = "maria"\n[policy]\ncanary = 5\n'
MESSAGE = message_pb2.Message(kind=message_pb2.KIND_INTENT, ref=b"r" * 16, agent=b"a" * 16, body=b"b", links=[b"l"])
REACH = RequestReach(ipaddress.ip_address("203.0.113.7"), (ipaddress.ip_network("10.0.0.0/8"),))
CHALLENGE = 'Digest realm="a", nonce="b", qop="auth", algorithm=SHA-256'
TARGET = expect(HttpTarget, connection_request.http_target_untrusted("http://203.0.113.7:7547/cr", REACH))

simple("csv", lambda b: subscribers_csv.parse_untrusted(b, 1.8e9), CSV, errors=())
simple("config", lambda b: config.parse_untrusted(b, Path("/agent.toml"), {}), TOML, errors=config.ConfigError)
simple(
    "fleet",
    lambda b: config_fleet.parse_fleet_untrusted(b, Path("/f.csv")),
    b"name,host\nedge-1,192.0.2.1\n",
    errors=config_fleet.MalformedFleetError,
)
simple(
    "recording of a device",
    text(recording.read_recording_untrusted),
    "1.3.6.1.2.1.1.1.0|4|RouterOS\n1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.14988.1\n1.3.6.1.2.1.1.3.0|67|123\n",
    "# a comment\n1.3.6.1.2.1.2.2.1.6.1|4x|020000000001\n1.3.6.1.2.1.4.20.1.1.1|64|192.0.2.1\n1.3.6.1|4e|\\x00\\n\n",
    errors=SnmpError,
)
simple("routers", fleet_file.read_list_untrusted, b"name,host\nedge-1,192.0.2.1\n", errors=FleetFileError)
simple(
    "uisp",
    fleet_file.read_uisp_untrusted,
    b'[{"identification": {"name": "edge-1"}, "ipAddress": "192.0.2.1/24"}]',
    errors=FleetFileError,
)
simple("json.exact", json_text.decode_exact_untrusted, b'{"a": [1, 2.5, null, "x"]}', errors=MalformedJsonError)
simple(
    "web.retry-after",
    text(lambda t: web_session.retry_after_untrusted(t, 1_795_000_000.0)),
    "120",
    "Fri, 27 Nov 2026 09:00:00 GMT",
    errors=(),
)
simple("json", json_text.decode_untrusted, b'{"a": [1, 2.5, null, "x"]}', errors=MalformedJsonError)
simple("inbox", inbox_handler._envelope_untrusted, *SIGNED)
simple(
    "routeros.version",
    text(Version.parse_untrusted),
    "7.20.8 (stable)",
    "7.21beta3 (testing)",
    errors=MalformedVersionError,
)
simple(
    "routeros.talk",
    lambda b: (routeros.hear([b]), routeros.log_in([b])),
    *(b"".join(routeros.SENTENCES[n:]) for n in (0, 3, 8)),
    errors=(),
)
simple("radius.identifier", codec.identifier_untrusted, bytes([41, 7, 0, 20]) + bytes(16), errors=RadiusError)
simple("snmp.answer", snmp_messages.answer, *snmp_messages.ANSWERS, errors=SnmpError)
simple("snmp.v3", snmp_messages.v3_answer, *snmp_messages.V3_ANSWERS, errors=SnmpError, share=0.3)
simple("snmp.v3-scoped", snmp_messages.v3_scoped, *snmp_messages.SCOPED, errors=SnmpError, share=0.3)
simple("snmp.notice", snmp_messages.notice, *snmp_messages.NOTICES, errors=SnmpError, share=0.3)
simple("snmp.notice-scoped", snmp_messages.notice_scoped, snmp_messages.INFORM, errors=SnmpError, share=0.3)
simple("cwmp.xml", reads.parse, *cwmp.BODIES, errors=CwmpError)
simple("cwmp.message", reads.read, *cwmp.BODIES, errors=CwmpError)
simple("cwmp.session", cwmp.hear, *cwmp.BODIES, errors=(), share=0.1)
simple("cwmp.trimmed", xml_tree.trimmed_untrusted, cwmp.BODIES[0], errors=CwmpError)
simple(
    "cwmp.salvage",
    lambda b: (
        xml_tree.in_one_go(salvage.mended_in_slices_untrusted(b)),
        xml_tree.in_one_go(salvage.read_in_slices_untrusted(b)),
    ),
    *cwmp.BODIES,
    errors=CwmpError,
)
simple("cwmp.trace", partial(traces.masked_untrusted, fault_texts=True), *cwmp.BODIES, errors=())
simple("cwmp.number", text(simple_types.read_number_untrusted), "-17", errors=CwmpError)
simple("cwmp.boolean", text(simple_types.read_boolean_untrusted), "true", "30", errors=CwmpError)
simple(
    "cwmp.basic",
    text(lambda t: [auth.basic_of_untrusted(a) for a in auth.read_untrusted(t)]),
    "Basic dTpw",
    errors=CwmpError,
)
simple("cwmp.authentication", text(auth.read_untrusted), CHALLENGE, errors=CwmpError)
simple(
    "cwmp.credentials",
    lines(lambda found: digest.credentials_untrusted(found, "GET", "/cr", "u", "p", "00", basic=True)),
    CHALLENGE,
    errors=CwmpError,
)
simple("cwmp.stale", lines(digest.is_stale_untrusted), f"{CHALLENGE}, stale=true", errors=())
simple("cwmp.cookie", text(http_text.cookie_untrusted), "a=b; session=0123456789abcdef", errors=())
simple("cwmp.path", text(http_text.path_untrusted), "http://acs.example:7547/acs?a=b", errors=())
simple(
    "cwmp.size",
    text(lambda t: http_text.size_untrusted({"content-length": t, "transfer-encoding": t}, 65_536)),
    "17",
    "chunked",
    errors=(),
)
simple(
    "cwmp.gzip",
    lambda b: http_text.body_untrusted(b, "gzip", 65_536),
    gzip.compress(cwmp.BODIES[0]),
    errors=CwmpError,
)
simple(
    "cwmp.deflate",
    lambda b: http_text.body_untrusted(b, "deflate", 65_536),
    zlib.compress(cwmp.BODIES[0]),
    errors=CwmpError,
)
simple(
    "cwmp.url",
    text(lambda t: connection_request.http_target_untrusted(t, REACH)),
    "http://203.0.113.7:7547/cr",
    errors=(),
)
simple(
    "cwmp.udp-address", text(lambda t: connection_request.udp_target_untrusted(t, REACH)), "203.0.113.7:3478", errors=()
)
simple(
    "cwmp.challenges",
    lines(
        lambda found: connection_request.judge_untrusted(
            TARGET, Credentials("u", "p"), 401, found, "00", answered=False, basic=True
        )
    ),
    CHALLENGE,
    errors=(),
)


@harness("cwmp.digest")
def _digest() -> Harness:
    gate = digest.DigestGate("acs", bytes(32), algorithms=("SHA-256", "MD5"), basic=True)
    (first, *_) = gate.challenges(1000.0, b"12345678")
    sound = digest.credentials_untrusted([first], "POST", "/acs", "u", "p", "00")
    return Harness(text(lambda t: gate.judge_untrusted(t, "POST", "/acs", {"u": "p"}.get, 1000.0)), (sound.encode(),))


@harness("cwmp.stun")
def _stun() -> Harness:
    server = stun.StunServer()

    def call(data: bytes) -> object:
        with suppress(stun.MalformedStunError):  # a source is an address, always
            server.receive_untrusted(data, (read(data[-6:]), 40001), 77.0)
        reply, _ = server.receive_untrusted(data, ("203.0.113.7", 40001), 77.0)
        return reply, stun.proven_untrusted(stun.read_untrusted(data), b"key")

    return Harness(call, (REQUEST, MODERN_CLAIM), (stun.MalformedStunError,))


@harness("cwmp.connection-request")
def _connection_request() -> Harness:
    """One answer of a CPE, whole in one piece, and then it hangs up."""
    request = h11.Request(method="GET", target="/", headers=[("Host", "a")])

    async def ask(data: bytes) -> object:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(data)
        await theirs.send_eof()
        head = await connection_request_session._Connection(ours).ask(request)
        return connection_request_session._status_untrusted(head)

    answered = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="a"\r\nContent-Length: 0\r\n\r\n'
    return Harness(lambda b: trio.run(ask, b), (answered,), (connection_request_session._NoAnswerError,), 0.1)


@harness("radius.reply")
def _reply() -> Harness:
    """Authentic replies too, with attributes of any form: a NAS has the secret."""
    client = DynAuthClient(profile("mikrotik"), SECRET, load(), choose=lambda n: 0)
    made = codec.encode_request(
        codec.PacketKind.DISCONNECT,
        7,
        {"User-Name": "a"},
        SECRET,
        load(),
        message_authenticator=True,
        event_timestamp_s=1,
    )

    def call(data: bytes) -> object:
        client.receive_untrusted(0, data, 1.0)
        return codec.decode_reply_untrusted(made, reply(made.data, ack=len(data) % 2 == 1, attributes=data[:200]))

    return Harness(call, (b"", error_cause(503)), (RadiusError,))


@harness("http.request")
def _request() -> Harness:
    def call(data: bytes) -> object:
        head = quick_head(b"GET " + data + b" HTTP/1.1\r\nHost: a\r\n\r\n", 16_384)
        return http._request_untrusted(head, b"", http.Peer(1, 1)) if isinstance(head, QuickHead) else head

    return Harness(call, (b"/v1/service/C-1%2Fhome?seq=3&tariff=Home+20M%C3%A9",), (HttpError,))


@harness("sealing")
def _sealing() -> Harness:
    stored = StoredSealing(SEALING.public, SEALING.private, 0, 2**40)
    keeper = types.SimpleNamespace(_clock=types.SimpleNamespace(wall_s=lambda: 0.0), _keys=[stored])
    call = partial(sealing.Sealing.open_untrusted, keeper)  # type: ignore[arg-type]  # what it looks at
    return Harness(call, (seal.seal(b"a body", SEALING.public),), (TrustError,))


@harness("own-board")
def _own_board() -> Harness:
    """A board whose seeds are this agent's own statements: they fit its log, as none contradicts an empty one."""
    signer = Signer(HEX, HEX, KEY, lambda: (0, merkle.EMPTY_ROOT))
    vault = Vault(b"k" * 32, folder() / "board-keys.db")
    place = folder() / "board"
    place.mkdir()
    store, recorder = Store(place, [], lambda: 0.0), Recorder(vault)
    atexit.register(lambda: (store.close(), vault.close()))
    trust_state = TrustState(store, recorder, HEX, KEY.public)

    def call(data: bytes) -> object:
        board = OwnBoard(store, recorder, trust_state, Notifier(), KEY.public)
        return trio.run(board.compare_untrusted, [data, data[1:]])

    seeds = (
        signer.receipt("cancel", bytes(32), None, (0, 0), 1, 0.0),
        SIGNED[STATEMENTS.index("receipt")],
        SIGNED[STATEMENTS.index("outcome")],
    )
    return Harness(call, seeds, share=0.1)


@harness("mark-file")
def _mark_file() -> Harness:
    def authenticate(data: bytes) -> str:
        return hashlib.sha256(b"a key" + data).hexdigest()

    fields = f"7 3 {'0a' * 32} 1 -"
    slot = f"{fields} {authenticate(fields.encode())}".ljust(SLOT_BYTES - 1) + "\n"
    keeper = types.SimpleNamespace(_authenticate=authenticate)
    call = partial(MarkFile._read_untrusted, keeper)  # type: ignore[arg-type]  # what it looks at
    return Harness(call, (slot.encode(),))


@harness("uplink.message")
def _incoming() -> Harness:
    def call(data: bytes) -> object:
        return wire.incoming_untrusted(message_pb2.Message.FromString(data), 7, b"a" * 16)

    return Harness(call, (MESSAGE.SerializeToString(),), (DecodeError,))


@harness("uplink.invitation")
def _invitation() -> Harness:
    ca = CloudAuthority().pem.decode()
    whole = member_files.encode_invitation(dataclasses.replace(NORTH, ca=ca))
    return Harness(enrolment.read_invitation_untrusted, (whole,), (UplinkError,))


@harness("uplink.certificate")
def _certificate() -> Harness:
    authority = CloudAuthority()
    identity = make_identity(authority, 1)
    good = x509.load_pem_x509_certificate(identity.certificate)
    seed = good.public_bytes(Encoding.DER)

    def call(data: bytes) -> object:
        return enrolment.certificate_untrusted(data, identity, CLOUD_AGENT, CLOUD_NOW.timestamp())

    return Harness(call, (seed,), (UplinkError,), 0.3)


# --- control plane, and what both share -------------------------------------------------------------------------------

URI = f"ispagents://{'00' * 16}/person/lena"
simple("member.uri", text(members.parse_uri_untrusted), URI, errors=ControlPlaneError)
simple(
    "member.invitation",
    lambda b: [member_files.read_invitation_untrusted(b, AT_DESKS), 0],
    member_files.encode_invitation(PERSON),
)
simple("member.credentials", lambda b: member_files.read_credentials_untrusted(b, AT_DESKS, "it"), WHOLE[1])
simple("member.agent-credentials", lambda b: member_files.read_credentials_untrusted(b, AGENTS, "it"), WHOLE[2])
simple(
    "call.failure",
    lambda b: channel.failure_of_untrusted(Broken(grpc.StatusCode.UNAVAILABLE, (PROBLEM_KEY, b))),
    message_pb2.Problem(refusal=message_pb2.REFUSAL_QUOTA).SerializeToString(),
    errors=(),
)
simple("desk.memory", memory.decode_untrusted, memory.encode(memory.Memory((), ())))


@harness("desk.draft")
def _draft() -> Harness:
    trust = PAYLOADS[STATEMENTS.index("trust")]
    classes = json.loads(trust)["policy"]

    def call(data: bytes) -> object:
        if data[:10] == b'{"policy":':
            return trust_edit.replace_policy_untrusted(trust_edit.decode_draft_untrusted(trust), data)
        return trust_edit.decode_draft_untrusted(data)

    policy = json.dumps({"policy": classes[:1]}, separators=(",", ":")).encode()
    return Harness(call, (trust, policy), (ControlPlaneError, TrustError))


@harness("desk.heads")
def _heads() -> Harness:
    seed = remembered_checkpoints.encode(remembered_checkpoints.RememberedCheckpoints())
    return Harness(remembered_checkpoints.decode_untrusted, (seed,), (ControlPlaneError, TrustError))


@harness("desk.export")
def _desk_export() -> Harness:
    """Each file of an export by itself, beside the others as they were."""
    signed = envelope.decode_untrusted(SIGNED[STATEMENTS.index("trust")])
    trust = statements.decode_as_untrusted(document.Trust, signed)
    seen = remembered_checkpoints.RememberedCheckpoints()
    plan = checkpoint.unb64_untrusted(EXPORTED["plan"], "plan")
    files = exported.ExportFiles(plan, b"\n".join(DOCUMENTS) + b"\n", checkpoint=EXPORTED["checkpoint"].encode())
    names = ("plan", "items", "checkpoint", "trust", "short")

    def call(data: bytes) -> object:
        name = names[data[0] % len(names)] if data else "plan"
        changed = dataclasses.replace(files, **{name: data[1:]})
        view = ViewAnswer("", (*DOCUMENTS[:1], data[1:]), files.checkpoint or b"", 0, (), (), ())
        try:
            exported.open_view_untrusted(plan, view, trust, seen)
        except (ControlPlaneError, TrustError):
            pass
        return exported.open_export_untrusted(changed, trust, envelope.digest(signed).hex(), seen)

    contents = [files.plan, files.items, files.checkpoint, SIGNED[STATEMENTS.index("trust")], b"K7QF"]
    return Harness(
        call, tuple(bytes([n]) + (c or b"") for n, c in enumerate(contents)), (ControlPlaneError, TrustError), 0.2
    )


@harness("desk.certificate")
def _desk_certificate() -> Harness:
    request = cloud_identity.new_request("lena")
    authority = certificates.Authority.create(NOW)
    issued = authority.issue_client_untrusted(request.csr, URI, NOW)
    issuer = authority.certificate.public_bytes(Encoding.DER)
    return Harness(
        lambda b: cloud_identity.chain_untrusted(request, b, issuer), (issued.der,), (ControlPlaneError,), 0.3
    )


@harness("cloud.request")
def _csr() -> Harness:
    authority = certificates.Authority.create(NOW)
    return Harness(lambda b: authority.issue_client_untrusted(b, URI, NOW), (csr(),), (ControlPlaneError,), 0.3)


@harness("cloud.enrolment")
def _enrolment() -> Harness:
    """A stranger with a token that is not known, or is; and a member with a certificate."""
    loop = asyncio.new_event_loop()

    data = config_of_cloud()

    async def opened() -> tuple[CloudStore, Auth, bytes]:
        store = CloudStore(data.database)
        auth = Auth(store, data.authority, lambda: float(NOW), lambda: 0.0)
        await store.run(members.AddOperator(b"o" * 16, "acme"))
        await store.run(members.Invite(b"o" * 16, IdentityKind.AGENT, "pop-1", members.token_digest(b"t" * 32), NOW))
        return store, auth, data.authority.issue_client_untrusted(csr(), URI, NOW).pem

    store, auth, pem = loop.run_until_complete(opened())
    atexit.register(lambda: (auth.close(), store.close(), loop.close()))

    def call(data: bytes) -> object:
        if data[:1] == b"-":
            return auth.identity_of_untrusted(data)
        token, statement = (b"t" * 32, data) if len(data) % 2 else (data[:32], b"")
        return loop.run_until_complete(auth.enroll_untrusted(token, csr_of_all(), statement))

    return Harness(call, (pem, SIGNED[STATEMENTS.index("enroll")]), (ControlPlaneError,), 0.02)


@cache
def csr_of_all() -> bytes:
    return csr()


@cache
def config_of_cloud() -> config_cloud.DataDir:
    data = config_cloud.create(folder() / "cloud", config_text(), NOW)

    async def database() -> None:
        CloudStore(data.database).close()

    asyncio.run(database())
    return data


@harness("cloud.peer")
def _peer() -> Harness:
    pem = certificates.Authority.create(NOW).issue_client_untrusted(csr(), URI, NOW).pem
    # Of a serial number that is not positive the library warns, and a warning is an error in tests only
    warned = CryptographyDeprecationWarning
    return Harness(certificates.read_peer_untrusted, (pem,), (ControlPlaneError, warned), 0.3)


@harness("cloud.witness")
def _witness() -> Harness:
    loop = asyncio.new_event_loop()

    async def opened() -> tuple[CloudStore, CloudWitness]:
        store = CloudStore(folder() / "witness.db")
        return store, CloudWitness(store, "w", KEY, lambda: NOW)

    store, cosigner = loop.run_until_complete(opened())
    atexit.register(lambda: (store.close(), loop.close()))
    log_key = checkpoint.parse_vkey_untrusted(VKEY)

    def call(data: bytes) -> object:
        return loop.run_until_complete(cosigner.add_untrusted(b"o" * 16, b"a" * 16, data, log_key))

    return Harness(call, (witness.encode_request(witness.AddCheckpoint(0, (), NOTE)),), (ControlPlaneError,), 0.05)


class ClearStream:
    """The clear bytes of a backup as they are read, without the sealing."""

    name = "backup"

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read_exactly(self, size: int) -> bytes:
        data = self._data.read(size)
        if len(data) != size:
            raise DamagedBackupError("it ends early")
        return data

    def finish(self) -> None:
        if self._data.read(1):
            raise DamagedBackupError("more follows")


@harness("backup.archive")
def _backup_archive() -> Harness:
    files = [archive.small("one", b"first"), archive.small("two", bytes(700))]
    good = b"".join(archive.pack({"format": "f1", "made": NOW}, files, lambda sums: sums.hex()[:64]))
    numbers = itertools.count()

    def call(data: bytes) -> object:
        place = folder() / f"scratch-{next(numbers)}"
        place.mkdir()
        try:
            return archive.unpack_untrusted(
                cast("age.OpenedBackup", ClearStream(data)), place, "f1", ("one", "two"), ()
            )
        finally:
            shutil.rmtree(place)

    return Harness(call, (good,), (BackupError,), 0.05)


@harness("backup.sealed")
def _backup_sealed() -> Harness:
    identity = age.new_identity()
    identities = age.parse_identities_untrusted(identity.encode())
    out = io.BytesIO()
    age.encrypt([bytes(500)], out, age.recipient_of(identity))

    def call(data: bytes) -> object:
        (folder() / "sealed").write_bytes(data)
        with age.opened_untrusted(folder() / "sealed", identities) as stream:
            return stream.read(len(data))

    return Harness(call, (out.getvalue(),), (BackupError,), 0.05)


@harness("backup.identities")
def _backup_identities() -> Harness:
    seed = f"# of a person\n{age.new_identity()}\n".encode()
    return Harness(age.parse_identities_untrusted, (seed,), (BackupError,), 0.05)
