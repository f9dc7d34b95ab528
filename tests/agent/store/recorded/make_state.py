"""Record what version eea7ef9 leaves on disk: `python -m tests.agent.store.recorded.make_state FOLDER`.

It ran once, on that version, and is kept to show how the recording was made; later code need not run it. FOLDER gets
`services.tar.xz`, `cpes.tar.xz` (the state directories, each at the instant of a crash) and `v0/` (documents).
"""

from __future__ import annotations

import base64
import io
import json
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import trio

from agent.changes.perform import Patience
from agent.changes.witnesses import KeepCosignature, UnwitnessedStart
from agent.connectors.base import Busy, Reply, Session, UnreadableError
from agent.model import (
    ABSENT,
    Address,
    Effect,
    Enforcement,
    Item,
    Listed,
    ProofKind,
    Replay,
    Requirement,
    SecretRef,
    Seen,
    Step,
    Target,
    Ticket,
    Transition,
)
from agent.store import mail
from agent.store.mail import JoinCloud, TakeIn
from lab.cpe.quirks import Quirks
from tests.builders.office import EPOCH
from tests.builders.witnesses import Witness
from tests.builders.world import FakeConnector, FakeSession, World
from tests.e2e.cpe_site import WHO, CpeSite, acs_files, acs_site, name
from tests.e2e.files import Files, make_files, stamp
from tests.e2e.site import Json, MovableClock, Site, b64, open_site
from tests.e2e.test_routers import billing_row, ref
from tests.builders.people import plan_of
from trust import document as documents
from trust import envelope as envelopes
from trust import statements
from trust.checkpoint import cosign, open_checkpoint_untrusted, parse_vkey_untrusted
from trust.document import Operator
from trust.items import encode_item
from trust.policy import Action
from trust.seal import SealingKey
from trust.statements import Decision, FreezeScope, Intent, OnFailure, OnStale, Subject
from trust.witness import note_text

USERS = 40
OFFLINE = 6
RUN_FOR_S = 1800
WAITS = Patience(send_s=3600.0, reread_s=3600.0, poll_s=0.05, poll_max_s=0.2)


# --- devices that stop in the middle ----------------------------------------------------------------------------------


class HeldWorld(World):
    """Devices that keep the agent waiting.

    `held`: login -> the send to hang in, counted from 1, and whether "before" or "after" the device took it. `blind`:
    logins of which nothing can be read. `sparing`: the device is to be spared. `over`: the recording is made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, tuple[int, str]] = {}
        self.blind: set[str] = set()
        self.sparing = False
        self.sends: dict[str, int] = {}
        self.over = trio.Event()


class HeldSession(FakeSession):
    world: HeldWorld

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        if any(a.rsplit("/", 1)[1].split("#")[0] in self.world.blind for a in addresses):
            raise UnreadableError("it does not answer", reason="unreachable")
        return await super().read(addresses)

    async def send(self, ticket: Ticket) -> Reply:
        first = ticket.do.address if isinstance(ticket.do, Effect) else ticket.do[0].address
        login = first.rsplit("/", 1)[1]
        number = self.world.sends[login] = self.world.sends.get(login, 0) + 1
        hangs = self.world.held.get(login, (0, ""))
        if hangs == (number, "before"):
            await self.world.over.wait()
        if hangs == (number, "blind"):
            self.world.blind.add(login)
        reply = await super().send(ticket)
        if hangs == (number, "after"):
            await self.world.over.wait()
        return reply

    async def busy(self) -> Busy | None:
        await trio.lowlevel.checkpoint()
        return Busy("overloaded", "CPU at 99 %") if self.world.sparing else None


class HeldConnector(FakeConnector):
    world: HeldWorld

    @asynccontextmanager
    async def dial(self, target: Target) -> AsyncIterator[Session]:
        yield HeldSession(self.world, target)


# --- the archive ------------------------------------------------------------------------------------------------------


def copied(state: Path, to: Path) -> None:
    """Copy a state directory as a kill at this instant would leave it, without write-ahead logs."""
    to.mkdir()
    for database in ("keys.db", "agent.db"):
        with closing(sqlite3.connect(state / database)) as old, closing(sqlite3.connect(to / database)) as new:
            old.backup(new)
    for path in state.iterdir():
        if path.is_file() and not path.name.startswith(("agent.", "keys.")):
            (to / path.name).write_bytes(path.read_bytes())


def archive(to: Path, state: Path, texts: Mapping[str, object]) -> None:
    with tarfile.open(to, "w:xz") as tar:
        members = {f"state/{p.name}": p.read_bytes() for p in sorted(state.iterdir())}
        members |= {key: json.dumps(value, indent=1, sort_keys=True).encode() for key, value in texts.items()}
        for key, data in members.items():
            info = tarfile.TarInfo(key)
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))


def people_json(files: Files) -> Json:
    return {
        "trust_id": files.people.trust_id,
        "keys": {who: key.seed.hex() for who, key in files.people.keys.items()},
        "trust": b64(files.signed_trust()[0]),
        "enroll": b64((files.folder / "enroll.json").read_bytes()),
    }


async def expected(site: Site, names: Mapping[str, Json]) -> Json:
    """Return what this version says of its own state."""
    changes = await site.call("GET", "/v1/changes")
    status = await site.call("GET", "/v1/status")
    return {
        "at_s": site.clock.wall_s(),
        "names": {key: change["id"] for key, change in names.items()},
        "shown": {c["id"]: await site.show(c["id"]) for c in changes},
        "subscribers": await site.call("GET", "/v1/subscribers"),
        "status": {k: status[k] for k in ("agent", "agent_id", "words", "frozen", "standings", "changes")},
        "log": {"size": status["log"]["size"], "root": status["log"]["root"], "vkey": status["log"]["vkey"]},
        "secrets": await site.call("GET", "/v1/secrets"),
        "billing": site.files.billing.text(),
    }


# --- services ---------------------------------------------------------------------------------------------------------


class Town:
    """A site whose subscribers are `C-00` (login `u0`) and so on, on the fake connector."""

    def __init__(self, site: Site, world: HeldWorld) -> None:
        self.site, self.world = site, world
        self.names: dict[str, Json] = {}

    @staticmethod
    def ref(n: int) -> str:
        return f"C-{n:02}/home"

    def bill(self) -> None:
        """Let billing say, as of now, that everybody owes."""
        for n in range(USERS):
            self.site.files.billing.rows[self.ref(n)] = {
                "subscriber": f"C-{n:02}", "name": f"Subscriber {n}", "service": "home", "login": f"u{n}",
                "method": "fax" if n == 25 else "fake", "tariff": "20M", "protected": "hospital" if n == 24 else "",
                "feeds": "0", "balance": "34.00", "due": "2026-11-01", "paid_at": "", "as_of": self.now(),
            }  # fmt: skip
        self.site.files.billing.write()

    def now(self) -> str:
        return stamp(datetime.fromtimestamp(self.site.clock.wall_s(), UTC))

    async def pays(self, n: int) -> None:
        self.site.files.billing.update(f"C-{n:02}", balance="0.00", paid_at=self.now(), as_of=self.now())
        self.site.files.billing.write()
        await self.site.import_csv()

    async def ask(self, key: str, action: str, *numbers: int, **fields: object) -> Json:
        change = await self.site.ask(action, *map(self.ref, numbers), **fields)
        self.names[key] = change
        return change

    async def end(self, key: str, action: str, *numbers: int, **fields: object) -> Json:
        """Ask, have it approved, and see its end."""
        change = await self.ask(key, action, *numbers, **fields)
        if change["gate"] == "approved":
            return await self.site.wait_end(change)
        return await self.site.apply(change, *(("joseph", "lena") if change["need"] > 1 else ("joseph",)))

    async def begun(self, key: str, action: str, *numbers: int, **fields: object) -> Json:
        """Ask, have it approved, and see it hang."""
        change = await self.ask(key, action, *numbers, **fields)
        await self.site.approve(change, "joseph")
        return await self.site.wait_for(change, lambda c: c["gate"] == "consumed")


async def plans_that_ended(town: Town) -> None:
    site, world = town.site, town.world
    store, recorder = site.daemon.files.store, site.daemon.api.parts.recorder
    await town.ask("void", "suspend", 13)
    await store.run(UnwitnessedStart(False, recorder.record(None, {"what": "unwitnessed-start", "why": "silence"})))
    await town.ask("plan-expired", "suspend", 12)
    world.sparing = True
    change = await town.begun("item-expired", "suspend", 11)
    site.clock.pass_s(RUN_FOR_S + 3600)
    await site.wait_end(change)
    world.sparing = False
    site.files.people.now_s = int(site.clock.wall_s())
    town.bill()
    await site.import_csv()
    await town.end("applied", "suspend", 2)
    for reason in ("debt", "abuse", "request"):
        await town.end(f"reason-{reason}", "suspend", 3, reason=reason)
    await town.end("suspended", "suspend", 4)
    await town.end("restored", "restore", 4)
    await town.end("tariff", "set-plan", 5, tariff="40M")
    site.files.billing.update("C-05", tariff="40M")
    site.files.billing.write()
    await town.end("disconnected", "disconnect", 30)
    await town.end("set-at-next-login", "suspend", OFFLINE)
    world.faults["u7"] = ["", "ack-without-effect", "ack-without-effect", "ack-without-effect"]
    await town.end("set-not-enforced", "suspend", 7)
    world.faults["u8"] = ["third-value"]
    await town.end("diverged", "suspend", 8)
    world.faults["u9"] = ["refused", "refused", "refused"]
    await town.end("not-applied", "suspend", 9)
    world.faults["u31"] = ["refused"] * 3
    await town.end("stopped", "suspend", *range(31, 35), on_failure="stop")
    world.faults["u35"] = ["third-value"]
    await town.end("taken-back", "suspend", 10, 35, on_failure="revert")
    world.faults["u36"] = ["", "", "third-value"]
    world.faults["u37"] = ["refused"] * 3
    await town.end("needs-a-person", "suspend", 36, 37, on_failure="revert")
    change = await town.ask("cancelled", "suspend", 13, hold=True)
    await site.approve(change, "joseph")
    await site.hand_in(site.people.cancel(plan_of(change), "maria"), change["id"])
    change = await town.ask("stale", "suspend", 14)
    world.values[world.user("u14")] = {"plan": "by somebody else"}
    await site.apply(change, "joseph")
    change = await town.ask("skipped", "suspend", 15)
    await town.pays(15)
    await site.apply(change, "joseph")
    change = await town.ask("superseded", "suspend", 16)
    await town.end("superseding", "restore", 16)
    await site.apply(change, "joseph")
    change = await town.ask("rejected", "suspend", 17)
    await site.hand_in(site.approval(change, "joseph", decision=Decision.REJECT), change["id"])
    await town.end("blocked-and-excluded", "suspend", 23, 24, 25)
    change = await town.end("to-be-reverted", "suspend", 27)
    change = await town.ask("reverted", "revert", change=change["id"])
    await site.apply(change, "joseph")


async def authority(town: Town) -> dict[str, bytes]:
    """A standing authority that was used, a freeze that was lifted, one that stands, and what came by the cloud."""
    site, people = town.site, town.site.people
    store = site.daemon.files.store
    await town.end("standing-suspended", "suspend", 26)
    await town.pays(26)
    standing = people.standing()
    await site.hand_in(standing)
    await town.end("standing-restored", "restore", 26)
    freeze = people.freeze("joseph")
    await site.hand_in(freeze)
    unfreeze = people.unfreeze(freeze, ["lena", "joseph"])
    await site.hand_in(unfreeze)
    stranger = people.freeze("lena", FreezeScope.KEY, "c" * 64)
    await site.hand_in(stranger)
    intent = statements.sign(
        Intent(
            people.trust_id, "a" * 32, "b" * 32, site.files.enrolled.agent, "maria", Action.SUSPEND, {},
            (Subject("service", town.ref(28)),), (), OnFailure.STOP, OnStale.SKIP, 0, people.now_s + 3600, "debt",
        ),
        [people.keys["maria"]],
    )  # fmt: skip
    town.names["by-intent"] = await site.call("POST", "/v1/changes", {"intent": b64(envelopes.encode(intent))})
    view = people.view(plan_of(town.names["by-intent"]), "joseph", SealingKey(bytes(range(32))), seen=site.files.seen())
    taken = mail.Incoming(0, b"v" * 16, "view", view, (), witness=b"")
    await store.run(TakeIn([taken], EPOCH))
    with trio.fail_after(60):
        while mail.next_in(store.reader) is not None:  # noqa: ASYNC110  it tells nobody
            await trio.sleep(0.05)
    return {
        "standing": standing,
        "freeze": freeze,
        "unfreeze": unfreeze,
        "intent": envelopes.encode(intent),
        "view": view,
    }


async def witnessed(town: Town, witness: Witness) -> None:
    """Have a witness cosign the log, and keep what it said."""
    site = town.site
    note = await site.daemon.evidence.checkpoint()
    vkey = site.daemon.evidence.vkey
    point = open_checkpoint_untrusted(note, parse_vkey_untrusted(vkey))
    line = cosign(note_text(note), witness.name, witness.key, int(site.clock.wall_s())).strip()
    await site.daemon.files.store.run(KeepCosignature(witness.name, point.size, note, line, False))


async def half_run(town: Town) -> None:
    """Plans that are waiting, and plans that are in the middle, at the last moment."""
    site, world, store = town.site, town.world, town.site.daemon.files.store
    await town.ask("open", "suspend", 0)
    open_by_mail = await town.ask("open-approval-in-the-inbox", "suspend", 38)
    change = await town.ask("approved", "suspend", 1, hold=True)
    await site.approve(change, "joseph")
    world.held |= {
        "u18": (1, "blind"),
        "u19": (1, "before"),
        "u20": (1, "after"),
        "u21": (2, "after"),
        "u22": (2, "before"),
    }
    world.faults["u18"] = ["reply-lost"]
    for n, key in {18: "unknown", 19: "about-to-write", 20: "written", 21: "ended", 22: "about-to-end"}.items():
        await town.begun(f"half-{key}", "suspend", n)
    with trio.fail_after(60):
        while any(world.sends.get(login, 0) < n for login, (n, _) in world.held.items()):  # noqa: ASYNC110  as above
            await trio.sleep(0.05)
    await site.wait_for(town.names["half-unknown"], lambda c: c["items"][0]["state"] == "unknown")
    world.sparing = True
    await town.begun("consumed", "suspend", 29)
    await town.begun("half-revert", "revert", change=town.names["set-at-next-login"]["id"])
    site.daemon.mailroom.run = trio.sleep_forever  # no mail is handled any more
    approval = site.approval(open_by_mail, "joseph")
    await store.run(TakeIn([mail.Incoming(1, b"m" * 16, "approval", approval, (), witness=b"")], EPOCH))


async def record_services(to: Path) -> None:
    folder = Path(tempfile.mkdtemp())
    files = make_files(folder, "", [], {}, policy={"run_for_s": RUN_FOR_S, "canary": 1})
    witness = Witness("desk-lena", Operator.OWN)
    listed = documents.Witness(witness.name, (witness.vkey,), witness.operated_by)
    files.trust = replace(files.trust, witnesses=(listed,))
    world = HeldWorld()
    for n in range(USERS):
        world.add(f"u{n}", online=n != OFFLINE)
    (files.state / "cloud.json").write_bytes(b"{}")  # enrolled, and cannot be used: mail is kept and goes nowhere
    async with open_site(
        files, clock=MovableClock(), install=False, connectors={"fake": HeldConnector(world)}, patience=WAITS
    ) as site:
        town = Town(site, world)
        town.bill()
        await site.daemon.files.store.run(JoinCloud(b"n" * 32))
        await site.install()
        await site.daemon.sealing.refresh()
        await plans_that_ended(town)
        kept = await authority(town)
        await witnessed(town, witness)
        await record_documents(to / "v0", town, kept)
        await half_run(town)
        await trio.sleep(1)
        copied(files.state, folder / "copy")
        told = await expected(site, town.names)
        with closing(sqlite3.connect(folder / "copy" / "agent.db")) as con:
            assert con.execute("SELECT count(*) FROM event").fetchone()[0] == told["log"]["size"], "something moved"
            (inbox,) = con.execute("SELECT count(*) FROM inbox WHERE done_s IS NULL").fetchone()
            assert inbox == 1
        values = {a: None if v is ABSENT else v for a, v in world.values.items()}
        texts = {
            "expected.json": told,
            "people.json": people_json(files),
            "world.json": {"values": values, "sessions": world.sessions},
        }
        archive(to / "services.tar.xz", folder / "copy", texts)
        world.blind.clear()
        world.over.set()
        for key, change in town.names.items():
            shown = told["shown"][change["id"]]
            print(key, shown["gate"], shown["state"], [(i["state"], i["reason"]) for i in shown["items"]])


# --- CPE --------------------------------------------------------------------------------------------------------------


async def sent(at: CpeSite, serial: str, change: Json) -> Json:
    """Approve a change, have the CPE call in, and return the change at its end."""
    await at.site.approve(change, *(("joseph", "lena") if change["need"] > 1 else ("joseph",)))
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] != "planned")
    await at.cpes[serial].call_in("2 PERIODIC")
    return await at.site.wait_end(change)


async def record_cpes(to: Path) -> None:
    folder = Path(tempfile.mkdtemp())
    files = acs_files(folder)
    who = {s: f"{s.lower()}@ppp" for s in ("LAB0002", "LAB0003", "LAB0004", "LAB0005", "LAB0006")} | {"LAB0001": WHO}
    for login in who.values():
        files.billing.rows[ref(login)] = billing_row(login)
    files.billing.write()
    names: dict[str, Json] = {}
    async with acs_site(folder, files=files, clock=MovableClock()) as at:
        for serial in sorted(who):
            await at.plug_in(serial)
            await at.accept(serial, ref(who[serial]))
        await at.plug_in("LAB0007")  # stays in quarantine
        await at.plug_in("LAB0008")
        await at.site.call("POST", f"/v1/cpes/{name('LAB0008')}/decide", {"trust": "refused", "forget": False})
        ask = partial(at.site.ask, "cpe-set")
        change = await ask(ref(WHO), settings={"wifi.1.ssid": "Amina at home"}, secrets={"wifi.1.key": "correct horse"})
        names["applied"] = await sent(at, "LAB0001", change)
        change = await ask(ref(who["LAB0005"]), settings={"wifi.1.ssid": "To be taken back"})
        names["applied-name"] = await sent(at, "LAB0005", change)
        names["rebooted"] = await sent(at, "LAB0006", await at.site.ask("cpe-reboot", "LAB0006"))
        names["reset"] = await sent(at, "LAB0006", await at.site.ask("cpe-factory-reset", "LAB0006"))
        names["open"] = await ask(ref(who["LAB0002"]), settings={"wifi.1.ssid": "Not yet"})
        names["open-reboot"] = await at.site.ask("cpe-reboot", "LAB0002")
        names["waiting"] = await ask(ref(who["LAB0003"]), settings={"wifi.1.ssid": "When it calls"})
        await at.site.approve(names["waiting"], "joseph")
        await at.site.wait_for(names["waiting"], lambda c: c["items"][0]["state"] == "waiting")
        cpe = at.cpes["LAB0004"]
        cpe.device.quirks = Quirks(loses_answer_on=("SetParameterValues",))
        names["unknown"] = await ask(ref(who["LAB0004"]), settings={"wifi.1.ssid": "Answer lost"})
        await at.site.approve(names["unknown"], "joseph")
        await at.site.wait_for(names["unknown"], lambda c: c["items"][0]["state"] == "waiting")
        cpe.device.quirks = Quirks(loses_answer_on=("SetParameterValues",))
        with trio.move_on_after(3):
            await cpe.call_in("2 PERIODIC")
        await at.site.wait_for(names["unknown"], lambda c: c["items"][0]["state"] not in ("waiting", "running"))
        await trio.sleep(1)
        await record_items(to / "v0" / "items-cpe.json", at.site, names["applied"])
        for key in ("rebooted", "reset"):
            (to / "v0" / f"plan-cpe-{key}.json").write_bytes(base64.b64decode(names[key]["plan"]))
        copied(files.state, folder / "copy")
        told = await expected(at.site, names)
        told["cpes"] = await at.site.call("GET", "/v1/cpes")
        told["cpe_shown"] = {c["name"]: await at.site.call("GET", f"/v1/cpes/{c['name']}") for c in told["cpes"]}
        told["cpe_values"] = {
            c["name"]: await at.site.call("GET", f"/v1/cpes/{c['name']}/values") for c in told["cpes"]
        }
        texts = {"expected.json": told, "people.json": people_json(files)}
        archive(to / "cpes.tar.xz", folder / "copy", texts)
        for key, change in names.items():
            shown = told["shown"][change["id"]]
            print(key, shown["gate"], shown["state"], [(i["state"], i["reason"]) for i in shown["items"]])
        for one in at.cpes.values():
            one.device.quirks = Quirks()


def every_field() -> Item:
    """Return an item that uses all that an item document has: a ladder, an order of fields, secrets, what is absent."""
    address = Address("radius/main/user/u1")
    write = Transition(
        address,
        Seen({"reply:Rate": (":=", "20M/20M"), "group:home": "1"}, 1_795_780_000, False),
        {"group:suspended": "-1", "reply:Rate": (":=", "20M/20M"), "key": SecretRef("ab" * 32)},
        frozenset({"key"}),
    )
    removed = Transition(Address("radius/main/user/u2"), Seen({"group:home": "1"}, 1_795_780_000), ABSENT)
    tell = Effect(Address("radius/main/sessions/u1"), "tell", {"filter": "suspended"}, "k1", Replay.SAFE, None, 5)
    end = Effect(Address("radius/main/sessions/u1"), "disconnect", {}, "k2", Replay.IF_UNPROVEN, ProofKind.GONE, 30)
    return Item(
        n=1, salt="5a" * 16, subject="C-1/home", listed=Listed.CHANGE, reason="", display={"title": "C-1 home"},
        requires=(Requirement(Address("billing/file/C-1"), "owes", "owes 34.00"),),
        steps=(
            Step(1, "radius/main", (write, removed)),
            Step(2, "radius/main", tell, after=(1,)),
            Step(3, "radius/main", end, after=(1,), on_revert=(end,), unless=(2,)),
        ),
        enforce=Enforcement("radius/main", Address("radius/main/sessions/u1"), {"state": "suspended"}, 60),
        desired=("+debt",),
    )  # fmt: skip


# --- documents --------------------------------------------------------------------------------------------------------


async def record_items(path: Path, site: Site, change: Json) -> None:
    """Write what an approver gets by file: plan, documents of head and items, trust, checkpoint."""
    path.parent.mkdir(exist_ok=True)
    export = await site.call("POST", f"/v1/changes/{change['id']}/export", {})
    path.write_text(json.dumps(export, indent=1), encoding="utf-8")


async def record_documents(to: Path, town: Town, kept: Mapping[str, bytes]) -> None:
    """Write an envelope of each kind, an export of items, a proof file and an evidence export."""
    site, store = town.site, town.site.daemon.files.store
    to.mkdir(exist_ok=True)

    def one(sql: str, *args: object) -> bytes:
        return bytes(store.reader.execute(sql, args).fetchone()[0])

    def of(key: str) -> bytes:
        return bytes.fromhex(town.names[key]["plan_id"])

    outgoing = {o.kind: o.body for o in mail.next_out(store.reader, site.clock.wall_s(), 10_000)}
    receipts = [o.body for o in mail.next_out(store.reader, site.clock.wall_s(), 10_000) if o.kind == "receipt"]
    found = {
        **kept,
        "trust": one("SELECT envelope FROM trust"),
        "enroll": (site.files.folder / "enroll.json").read_bytes(),
        "plan": one("SELECT envelope FROM plan WHERE plan_id = ?", of("applied")),
        "plan-disconnect": one("SELECT envelope FROM plan WHERE plan_id = ?", of("disconnected")),
        "approval": one("SELECT envelope FROM approval WHERE plan_id = ?", of("applied")),
        "approval-reject": one("SELECT envelope FROM approval WHERE plan_id = ?", of("rejected")),
        "outcome": one("SELECT outcome FROM plan WHERE plan_id = ?", of("applied")),
        "cancel": one("SELECT envelope FROM cancelled"),
        "receipt": receipts[0],
        "sealkey": outgoing["sealkey"],
    }
    for kind, data in found.items():
        (to / f"{kind}.json").write_bytes(data)
    (to / "item-every-field.json").write_bytes(encode_item(every_field()))
    await record_items(to / "items.json", site, town.names["applied"])
    seq = store.reader.execute("SELECT gate_seq FROM plan WHERE plan_id = ?", (of("applied"),)).fetchone()[0]
    proof = await site.call("GET", f"/v1/audit/proof/{seq}?open=1")
    (to / "proof.txt").write_text(proof["file"], encoding="utf-8")
    export = await site.call("POST", f"/v1/audit/export/{town.names['applied']['id']}?open=1", {})
    (to / "export.jsonl").write_text(export["file"], encoding="utf-8")
    digests = {kind: envelopes.digest(envelopes.decode_untrusted(data)).hex() for kind, data in sorted(found.items())}
    index = {
        "made_by": "eea7ef9",
        "at_s": int(site.clock.wall_s()),
        "vkey": site.daemon.evidence.vkey,
        "head": site.files.seen().trust_sha256,
        "digests": digests,
    }
    (to / "index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


async def main(to: Path) -> None:
    to.mkdir(exist_ok=True)
    await record_services(to)
    await record_cpes(to)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
