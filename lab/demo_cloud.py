"""The second half of `make demo`: the same main job through a control plane that can do nothing by itself.

Whoever runs the control plane types as `admin`; Joseph and Lena sit elsewhere, each at a desk; billing is a program
with a key. The control plane is killed, lies, and is searched for a subscriber's name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import shutil
import signal
import socket
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from lab.stage import Lab, Program, Stage, change_id, expect, find, pays, wait_until

Row = dict[str, str]

KINDS = {
    1: "plan",
    2: "receipt",
    3: "outcome",
    4: "sealing key",
    5: "checkpoint",
    10: "intent",
    11: "approval",
    15: "trust",
    16: "standing",
    17: "cosignature",
}
"""Kinds of messages on the wire (protos/message.proto)."""

KIND_PLAN, KIND_APPROVAL = 1, 11


def ref_of(row: Row) -> str:
    """Return how people name a row's service."""
    return f"{row['subscriber']}/{row['service']}"


def free_port() -> int:
    """Return a port that was free a moment ago: the control plane comes back on the same one."""
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


# --- setting it up --------------------------------------------------------------------------------------------------


def control_plane(stage: Stage) -> tuple[Program, str]:
    """Return the running server and its witness's key; agent, desks and billing came to it by invitation."""
    stage.say("A control plane, somewhere else. It carries messages; it has no key that an agent would obey.")
    at = f"--listen 127.0.0.1:{free_port()} --enrolment-listen 127.0.0.1:{free_port()}"
    made = stage.type("admin", f"ispcloud init --public-host 127.0.0.1 {at}")
    stage.type("admin", "ispcloud operators add hill-isp")
    server = stage.start("admin", "ispcloud serve", "listening on")

    stage.say("Everyone comes by an invitation that is good once. It opens a connection, and gives no authority.")
    stage.type("admin", "ispcloud agents enroll noc-1 --operator hill-isp --out noc-1.invite")
    for who in ("joseph", "lena"):
        stage.type("admin", f"ispcloud people enroll {who} --operator hill-isp --out {who}.invite", show=False)
    stage.type("admin", "ispcloud services enroll billing --operator hill-isp --out billing.invite", show=False)
    stage.type("site", "ispagent cloud enroll --invite noc-1.invite")
    for who in ("joseph", "lena", "billing"):
        stage.type(who, f"ispcloud desk enroll --invite {who}.invite", show=who == "joseph")
    wait_until("the agent to connect", lambda: " connected since" in stage.ask("site", "ispagent cloud show"))
    stage.type("site", "ispagent cloud show")
    stage.type("admin", "ispcloud agents list")
    return server, find(r"^witness (\S+)", made, "the witness's key")


def second_trust(stage: Stage, cloud: str) -> Program:
    """Return Joseph's open desk, after version 2 was signed: it names billing and two witnesses."""
    stage.say(
        "Trust version 2: billing may ask, two witnesses watch the agent's log. Both owners sign; it is published."
    )
    said = stage.type("billing", "ispcloud keys new --out billing.key", show=False)
    billing = find(r"\b([0-9a-f]{64})\b", said, "a public key")
    stage.type("joseph", "ispcloud keys new --out witness.key", show=False)
    shown = stage.type("joseph", "ispcloud keys show witness.key --witness-name joseph-desk")
    own = find(r"vkey +(\S+)", shown, "a verifier key")
    stage.type("lena", "ispcloud trust next trust.json --out next.draft.json")
    at = "--draft next.draft.json"
    stage.type("lena", f"ispcloud trust add service billing --key {billing} {at}")
    stage.type("lena", f"ispcloud trust add witness ispcloud-witness --vkey {cloud} --operated-by cloud {at}")
    stage.type("lena", f"ispcloud trust add witness joseph-desk --vkey {own} --operated-by own {at}")
    stage.type("lena", f"ispcloud trust policy --quorum 2 {at}")
    stage.type("lena", "ispcloud trust sign next.draft.json --previous trust.json --yes", show=False)
    stage.type("joseph", "ispcloud trust sign next.json --previous trust.json --yes")
    said = stage.type("lena", "ispcloud trust publish next.json")
    expect(said, "RECEIPT noc-1: trust accepted")
    shutil.copy(stage.folder / "next.json", stage.home("billing") / "trust.json")
    print("# billing gets a copy by hand, as everybody gets their first one")

    stage.say("Joseph's desk stays open: it tells what happens, and cosigns what follows from what it saw before.")
    stage.type("joseph", "ispcloud changes list")
    watch = stage.start("joseph", "ispcloud changes watch --witness-key witness.key", "cosigned its log")
    wait_until(
        "two witnesses",
        lambda: "witnessed by ispcloud-witness, joseph-desk" in stage.ask("site", "ispagent status --json"),
    )
    expect(stage.type("maria", "ispagent status"), "witnessed by")
    return watch


# --- changes --------------------------------------------------------------------------------------------------------


def from_the_site(stage: Stage, lab: Lab, watch: Program, row: Row) -> None:
    """Asked at the site, approved at a desk elsewhere, watched from there."""
    stage.say("Joseph begins his shift: his key is unlocked for it, in a process of his own. Maria asks at the site.")
    stage.type("joseph", "ispcloud keys unlock --hours 8")
    stage.unlocked.add("joseph")
    change = change_id(stage.type("maria", f"ispagent change suspend {ref_of(row)}", show=False))
    named = _listed(stage, "joseph", " maria ")

    stage.say("The list says what the cloud knows too. To see whom it concerns he signs that he looks; the agent seals")
    print("# the items to a key that lives as long as this command, and writes into its log that he saw them.")
    stage.type("joseph", "ispcloud changes list")
    expect(stage.type("joseph", f"ispcloud changes show {named}"), row["login"], "CHECKED the plan and every item")
    _approve(stage, named, 1)
    _show_lines(watch, f"done: {change}", named, change)
    expect(stage.type("maria", f"ispagent change watch {change}"), "enforced now", "disclosed to joseph")
    print(f"# the BNG's own view: {lab.session(row['login'])}")


def _approve(stage: Stage, named: str, count: int) -> None:
    """Have Joseph approve at his desk; the preview is left out of its output here."""
    said = stage.type("joseph", f"ispcloud changes approve {named} --yes-i-read-it {count}", show=False)
    print("(the same preview, from the bytes that his desk has just verified)")
    print(
        "".join(f"{line}\n" for line in said.splitlines() if "approved by joseph" in line or "RECEIPT" in line), end=""
    )
    expect(said, "RECEIPT noc-1: approve accepted")


def _listed(stage: Stage, who: str, text: str) -> str:
    """Return the name of the waiting change that a desk lists with `text`, once it is there."""
    found: list[str] = []

    def there() -> bool:
        lines = [s for s in stage.ask(who, "ispcloud changes list").splitlines() if " waiting " in s and text in s]
        found.extend(line.split()[0] for line in lines)
        return bool(found)

    wait_until(f"a change {text} on the board", there)
    return found[0]


def killed_in_the_middle(stage: Stage, lab: Lab, server: Program, watch: Program, rows: list[Row]) -> None:
    """Asked for at a desk, approved at another; the control plane dies while it runs, and comes back as a liar."""
    *together, last = rows
    stage.say(
        "Lena asks from her own desk: signed by her, sealed to the agent. Joseph approves. One BNG is slow today."
    )
    other = change_id(stage.type("maria", f"ispagent change suspend {ref_of(last)}", show=False))
    _listed(stage, "joseph", " maria ")
    lab.ask(do="fault", login=together[-1]["login"], fault="slow:4")
    asked = f"ispcloud changes suspend {' '.join(map(ref_of, together))} --agent noc-1"
    named = find(r"PREVIEW (\S+):", stage.type("lena", asked), "the preview's name")
    _approve(stage, named, len(together))
    change = stage.ask("maria", "ispagent change list").split()[0]
    wait_until("the change to run", lambda: _state(stage, change) in ("running", "done"))  # done, on a busy machine

    stage.say("In the middle of it the control plane is killed (kill -9). The site goes on, and finishes.")
    server.end(signal.SIGKILL)
    expect(stage.type("maria", f"ispagent change watch {change}"), "3 enforced now")
    expect(stage.type("site", "ispagent cloud show"), "NOT CONNECTED")
    stage.type("joseph", "ispcloud changes list", exits=(1,))

    stage.say("Whoever runs it now lies: out of Joseph's approval they make one for what Maria asked meanwhile.")
    print(f"# written into its database: Joseph's signature, over the plan {forge(stage, 'maria')[:8]}")
    stage.start("admin", "ispcloud serve", "listening on")
    stage.say("It is back. The outcome arrives, which the agent had kept for it; the forged approval is refused.")
    _show_lines(watch, f"done: {change}", f"done: {change}")
    audit = f"ispagent audit list --change {other}"
    wait_until("the refusal in the log", lambda: "refused" in stage.ask("maria", audit))
    expect(stage.type("maria", audit), "refused: bad-signature")
    line = find(rf"^({other} .*)$", stage.type("maria", "ispagent change list"), "the change that was asked for")
    expect(line, "waiting for approval")


def _state(stage: Stage, change: str) -> str:
    found = json.loads(stage.ask("maria", f"ispagent change show {change} --json"))
    return str(found["state"])


def _show_lines(watch: Program, text: str, *names: str) -> None:
    said = watch.wait(text)
    print("# what Joseph's open desk says:")
    print("".join(f"{line}\n" for line in said.splitlines() if any(name in line for name in names)), end="")


def at_night(stage: Stage, lab: Lab, row: Row) -> None:
    """Two people allow by day the restores that billing may ask for at night."""
    stage.say("By day Lena and Joseph allow for the night: restores, one at a time, where billing shows the payment.")
    stage.type("lena", "ispcloud standing new --rate 30 --days 7 --out night.json --yes")
    stage.type("joseph", "ispcloud standing sign night.json --yes")
    expect(stage.type("lena", "ispcloud standing send night.json"), "RECEIPT noc-1: standing accepted")
    stage.type("joseph", "ispcloud keys lock")
    stage.unlocked.discard("joseph")

    stage.say(f"Everybody sleeps. {ref_of(row)} pays; billing asks for the restore, with a key of its own.")
    print(f"# the BNG's own view: {lab.session(row['login'])}")
    when = pays(stage.folder / "isp" / "subscribers.csv", row["subscriber"])
    print(f"# {row['subscriber']} pays at {when}")
    stage.type("billing", f"ispcloud changes restore {ref_of(row)} --agent noc-1")
    change = stage.ask("maria", "ispagent change list").split()[0]
    expect(stage.type("maria", f"ispagent change watch {change}"), "approved by standing authority", "enforced now")
    print(f"# the BNG's own view: {lab.session(row['login'])}")
    expect(stage.type("joseph", "ispcloud changes list"), " billing ")


# --- who runs it ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Letter:
    """A kept message. `before` and `after`: the wire's bytes around its body, a DSSE envelope."""

    row: int
    before: bytes
    envelope: dict[str, object]
    after: bytes

    @property
    def payload(self) -> bytes:
        """The signed bytes."""
        return base64.b64decode(str(self.envelope["payload"]))

    @property
    def says(self) -> Any:
        """The statement."""
        return json.loads(self.payload)

    @property
    def digest(self) -> str:
        """SHA-256 over DSSE's PAE, hex: how approvals name a plan."""
        kind, payload = str(self.envelope["payloadType"]).encode(), self.payload
        return hashlib.sha256(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)).hexdigest()


def read_letter(row: int, message: bytes) -> Letter | None:
    """Return a message as whoever holds the database can read it; None: its body is sealed, or of another form."""
    at = message.find(b'{"')
    try:
        found, size = json.JSONDecoder().raw_decode(message[at:].decode("latin-1"))
    except ValueError:
        return None
    return Letter(row, message[:at], found, message[at + size :]) if at >= 0 and "payload" in found else None


def forge(stage: Stage, requester: str) -> str:
    """Write an approval of a person's newest plan into the database, out of one that Joseph signed; return its digest.

    Lengths stay as they were, so that the bytes around stay good.
    """
    with closing(sqlite3.connect(stage.folder / "cloud" / "cloud.db", timeout=10)) as con:
        rows = con.execute("SELECT id, message, kind FROM letter WHERE kind IN (1, 11) ORDER BY id DESC").fetchall()
        letters = [(kind, read_letter(row, message)) for row, message, kind in rows]
        plan = next(f for kind, f in letters if kind == KIND_PLAN and f and f.says["requester"] == requester)
        approval = next(f for kind, f in letters if kind == KIND_APPROVAL and f)
        payload = approval.payload.replace(approval.says["plans"][0].encode(), plan.digest.encode())
        forged = {**approval.envelope, "payload": base64.b64encode(payload).decode()}
        ref, at = secrets.token_bytes(16), approval.before.index(b"\x12\x10") + 2
        before = approval.before[:at] + ref + approval.before[at + 16 :]
        message = before + json.dumps(forged, separators=(",", ":")).encode() + approval.after
        con.execute(
            "INSERT INTO letter (operator, sender, kind, message, minute, expires_s)"
            " SELECT operator, sender, kind, ?, minute, expires_s FROM letter WHERE id = ?",
            (message, approval.row),
        )
        (box,) = con.execute("SELECT box FROM message WHERE letter = ?", (approval.row,)).fetchone()
        con.execute("UPDATE box SET newest = newest + 1 WHERE box = ?", (box,))
        newest = "INSERT INTO message SELECT box, newest, (SELECT max(id) FROM letter) FROM box WHERE box = ?"
        con.execute(newest, (box,))
        con.commit()
    return plan.digest


def what_it_knows(stage: Stage, rows: list[Row]) -> None:
    """Search everything that the control plane has, decoded where it can be, for the subscribers."""
    stage.say("What does the control plane know? All its files, and every message as far as anybody can decode it:")
    dump, counts = stage.folder / "dump.txt", Counter[str]()
    with closing(sqlite3.connect(stage.folder / "cloud" / "cloud.db", timeout=10)) as con, dump.open("wb") as out:
        for row, kind, message in con.execute("SELECT id, kind, message FROM letter ORDER BY id"):
            letter = read_letter(row, message)
            counts[f"{KINDS.get(kind, kind)}{'' if letter else ' (opaque)'}"] += 1
            out.write(message + b"\n" + (letter.payload if letter else b"") + b"\n")
    print("# " + ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())))
    stage.type("admin", "grep -caF maria dump.txt")
    words = " ".join(f"-e '{row[key]}'" for row in rows[:2] for key in ("name", "login", "subscriber"))
    logs = " ".join(p.log.name for p in stage.running if p.command == "ispcloud serve")
    stage.type("admin", f"grep -raF {words} dump.txt cloud {logs}", exits=(1,))


def play(stage: Stage, lab: Lab, rows: list[Row]) -> None:
    """The second half: `rows` owe, are online and mapped."""
    server, vkey = control_plane(stage)
    watch = second_trust(stage, vkey)
    from_the_site(stage, lab, watch, rows[0])
    killed_in_the_middle(stage, lab, server, watch, rows[1:5])
    at_night(stage, lab, rows[0])
    what_it_knows(stage, rows)
