"""`make demo`: the main job, typed out. A lab ISP, an agent, three people with a key each; nothing is left running.

First everything goes by file, then through a control plane (`lab/demo_cloud.py`). It only types commands, as a person
would, and stops with exit code 1 at the first answer that is not as it should be.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import demo_cloud
from lab.stage import DemoError, Lab, Stage, change_id, expect, find, owing, pays, read_rows

SERVICES = 900
BATCH = 30
CLOSED = "bng-3"
"""The router with an API that is not open to the agent: of it, RADIUS alone tells."""


def set_up(stage: Stage) -> Lab:
    """A network, an agent, three people that trust each other and nobody else."""
    stage.say(f"A small ISP on loopback: {SERVICES} services, a RADIUS server, three routers as BNG.")
    stage.start("lab", f"python -m lab isp --dir isp --subscribers {SERVICES} --nas 3 --routers", "lab ready")
    lab = Lab(stage.folder / "isp")
    mapping = (stage.folder / "isp" / "mapping.toml").read_text()
    mapping = without_api(mapping.replace(str(stage.folder) + "/", ""))
    print(f"# the agent may use the API of bng-1 and bng-2; {CLOSED} speaks RADIUS alone")
    (stage.folder / "agent.toml").write_text(
        '[agent]\nname = "noc-1"\nstate_dir = "state"\n\n'
        f'[people]\n{os.getuid()} = "maria"\n\n'
        "[policy]\nsoak_s = 2\npace = 8\nstop_failed_percent = 5\n\n"
        "[cloud]\ncheckpoint_s = 3\n\n"
        f'[billing]\nfile = "isp/subscribers.csv"\nrestore_paid = false\n\n{mapping}'
    )
    (stage.folder / "state").mkdir(mode=0o700)
    (stage.folder / "passphrase").write_text("correct horse battery staple\n")
    (stage.folder / "passphrase").chmod(0o600)

    stage.say("The agent makes its own keys. Its words are what people compare; nothing is trusted on first use.")
    said = stage.type("site", "ispagent init --enroll enroll.json")
    words = find(r"words +(\S+)", said, "the agent's words")

    stage.say("Three people, each with a key under a passphrase. Keys never leave their people.")
    publics = {}
    for who in ("maria", "joseph", "lena"):
        out = stage.type(who, f"ispcloud keys new --out {who}.key --person {who}", show=who == "maria")
        publics[who] = find(r"\b([0-9a-f]{64})\b", out, "a public key")

    stage.say("The trust document: who may approve what. Two of two owners sign it; the agent's words are typed.")
    owners = f"--owner lena={publics['lena']} --owner joseph={publics['joseph']}"
    stage.type("lena", f"ispcloud trust init --root-threshold 2 {owners} --policy-preset demo")
    roles = "--role requester --role approver --sees-subscribers"
    stage.type("lena", f"ispcloud trust add person maria --key {publics['maria']} {roles}")
    stage.type("lena", "ispcloud trust add agent --enroll enroll.json --words wrong-words", exits=(2, 3))
    stage.type("lena", f"ispcloud trust add agent --enroll enroll.json --words {words}")
    stage.type("lena", "ispcloud trust sign trust.draft.json --yes", show=False)
    stage.type("joseph", "ispcloud trust sign trust.json --yes", show=False)
    shown = stage.type("lena", "ispcloud trust show trust.json")
    head = find(r"\b((?:[a-z]{5}-){7}[a-z]{5})\b", shown, "the document's words")
    for who in publics:
        shutil.copy(stage.folder / "trust.json", stage.home(who) / "trust.json")
    print("# each of them keeps a copy: ~/.config/ispcloud/trust.json")

    stage.say("The agent starts. At its console somebody types the head's words; then secrets, then the subscribers.")
    stage.start("site", "ispagent run", "listening on")
    wrong = "lusab-babad-gutih-tugad-lusab-babad-gutih-tugad"
    stage.type("site", f"ispagent trust install trust.json --words {wrong}", exits=(3,))
    stage.type("site", f"ispagent trust install trust.json --words {head}")
    for name, secret in lab.secrets.items():
        if name == f"routeros/{CLOSED}":
            continue
        stage.type("site", f"ispagent secret set {name} --stdin", text=secret, show=False)
    stage.type("maria", "ispagent subscriber import isp/subscribers.csv")
    stage.type("maria", "ispagent status")
    return lab


def without_api(mapping: str) -> str:
    """Return the access mapping without the API of the closed router."""
    sections = re.split(r"^(?=\[)", mapping.replace(f'router = "{CLOSED}"\n', ""), flags=re.MULTILINE)
    return "".join(s for s in sections if not s.startswith(f"[routeros.{CLOSED}]"))


def approve(stage: Stage, change: str, who: str, count: int, *, show: bool = True) -> str:
    """Carry a change to a person by file, and their approval back."""
    stage.type("maria", f"ispagent change show {change} --export {change}", show=False)
    sign = f"ispcloud changes approve --file {change} --yes-i-read-it {count} --out {change}.{who}"
    stage.type(who, sign, show=show)
    return stage.type("maria", f"ispagent change approve {change} --file {change}.{who}")


def one_service(stage: Stage, lab: Lab, row: dict[str, str]) -> str:
    """Suspend one service, see it enforced, take it back."""
    login, ref = row["login"], f"{row['subscriber']}/{row['service']}"
    stage.say(f"One who owes: {ref}. Asking shows what would happen; nothing is sent.")
    print(f"# the BNG's own view: {lab.session(login)}")
    change = change_id(stage.type("maria", f"ispagent change suspend {ref}"))

    stage.say("Maria asked, so Maria cannot approve: her own tool says so, and the agent would as well.")
    stage.type("maria", f"ispagent change show {change} --export {change}")
    sign = f"ispcloud changes approve --file {change} --yes-i-read-it 1 --out own.json"
    own = stage.type("maria", sign, exits=(3,))
    expect(own, "another person must approve")

    stage.say("Joseph's tool verifies the agent's signature and every item, shows those bytes, and signs.")
    expect(approve(stage, change, "joseph", 1), "approved")
    end = stage.type("maria", f"ispagent change watch {change}")
    expect(end, "enforced now")
    print(f"# the BNG's own view: {lab.session(login)}")

    stage.say("It can be taken back: a new plan from today's state, approved again.")
    back = change_id(stage.type("maria", f"ispagent change revert {change}"))
    approve(stage, back, "lena", 1, show=False)
    expect(stage.type("maria", f"ispagent change watch {back}"), "enforced now")
    print(f"# the BNG's own view: {lab.session(login)}")
    return change


def pick_batch(lab: Lab, rows: list[dict[str, str]], all_rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return a batch: debtors, among them offline, unmapped and protected ones, and one without a debt."""
    kinds: dict[str, list[dict[str, str]]] = {"online": [], "offline": [], "unmapped": [], "protected": []}
    for row in rows:
        about = lab.about(row)
        kind = (
            "protected"
            if row["protected"] or row["feeds"] != "0"
            else "unmapped"
            if not about["mapped"]
            else "online"
            if about["online"]
            else "offline"
        )
        kinds[kind].append(row)
    paid = [r for r in all_rows if float(r["balance"]) <= 0 and not r["protected"]][:2]
    protected = kinds["protected"][:2] or [r for r in all_rows if r["protected"]][:2]
    rest = [*kinds["offline"][:3], *kinds["unmapped"][:2], *protected, *paid]
    return [*kinds["online"][: BATCH - len(rest)], *rest]


def batch(stage: Stage, lab: Lab, kept: list[dict[str, str]]) -> str:
    """Many at once: a canary, a soak, the rest; each of them answered for."""
    path = stage.folder / "isp" / "subscribers.csv"
    all_rows = read_rows(path)
    debtors = [r for r in owing(all_rows) if r not in kept]
    chosen = pick_batch(lab, debtors, all_rows)
    (stage.folder / "overdue.txt").write_text("".join(f"{r['subscriber']}/{r['service']}\n" for r in chosen))
    online = [r for r in chosen[:20] if lab.about(r)["online"] and lab.about(r)["mapped"]]
    stubborn = next(r for r in online[6:] if lab.about(r)["nas"] == CLOSED)
    ended = next(r for r in online[6:] if lab.about(r)["nas"] != CLOSED)
    payer = next(r for r in reversed(online) if r not in (stubborn, ended))
    stage.say(f"A batch of {BATCH}. Those that would not change say why; two people approve; five go first.")
    preview = stage.type("maria", "ispagent change suspend --file overdue.txt")
    change = change_id(preview)
    count = int(find(r"(\d+) WOULD CHANGE", preview, "how many would change"))
    expect(approve(stage, change, "joseph", count, show=False), "1 of 2")

    stage.say("Meanwhile one of them pays, and two BNG will answer ACK without doing anything.")
    now = pays(path, payer["subscriber"])
    print(f"# {payer['subscriber']} pays at {now}; ack-without-effect for {ended['login']} and {stubborn['login']}")
    for row in (ended, stubborn):
        lab.ask(do="fault", login=row["login"], fault="ack-without-effect")

    expect(approve(stage, change, "lena", count, show=False), "2 of 2")
    stage.type("maria", f"ispagent change watch {change}", exits=(4,), show=False)
    end = stage.type("maria", f"ispagent change show {change}")
    expect(end, "1 NEEDS YOU", "SET, NOT ENFORCED", "skipped", "at next login")
    print(f"# {ended['login']} was ended by its router's API; {CLOSED} has none: {stubborn['login']} needs a person")

    stage.say("The one that is set and not enforced is tried again, under the same approval.")
    lab.ask(do="fault", login=stubborn["login"], fault="none")
    stage.type("maria", f"ispagent change retry {change}", show=False)
    stage.type("maria", f"ispagent change watch {change}", show=False)
    expect(stage.type("maria", f"ispagent change show {change} --open"), "no item needs a person")
    return change


def refusals(stage: Stage, row: dict[str, str], other: str) -> None:
    """A service that is not as it was previewed is left alone; a statement that the right person did not sign does not
    count.
    """
    ref, login = f"{row['subscriber']}/{row['service']}", row["login"]
    stage.say("Between preview and approval somebody edits the row: the plan is stale, and nothing is sent.")
    change = change_id(stage.type("maria", f"ispagent change suspend {ref} --reason request", show=False))
    stage.type("maria", f"ispagent change show {change} --export {change}", show=False)
    sign = f"ispcloud changes approve --file {change} --yes-i-read-it 1 --out {change}.joseph"
    stage.type("joseph", sign, show=False)

    stage.say(
        "First a forged approval: Joseph's, with one character of the signature changed; then one for another plan."
    )
    approval = json.loads((stage.folder / f"{change}.joseph").read_text())
    sig = approval["signatures"][0]["sig"]
    approval["signatures"][0]["sig"] = ("A" if sig[0] != "A" else "B") + sig[1:]
    (stage.folder / "forged.json").write_text(json.dumps(approval))
    expect(stage.type("maria", f"ispagent change approve {change} --file forged.json", exits=(3,)), "REFUSED")
    expect(
        stage.type("maria", f"ispagent change approve {change} --file {other}.joseph", exits=(3,)), "for another plan"
    )

    with sqlite3.connect(stage.folder / "isp" / "radius.db", timeout=10) as con:
        con.execute(
            "INSERT INTO radreply (username, attribute, op, value) VALUES (?, 'Session-Timeout', ':=', '3600')",
            (login,),
        )
    con.close()
    print(f"# another tool: INSERT INTO radreply … '{login}', 'Session-Timeout', ':=', '3600'")
    stage.type("maria", f"ispagent change approve {change} --file {change}.joseph")
    expect(stage.type("maria", f"ispagent change watch {change}", exits=(3,)), "stale, nothing sent")


def evidence(stage: Stage, change: str) -> None:
    """The log adds up, and a reader that trusts nobody can check it."""
    stage.say("Everything above is in an append-only log; the agent recomputes it, an auditor needs only `trust`.")
    verified = stage.type("maria", "ispagent audit verify")
    key = find(r"log key (\S+)", verified, "the log's key")
    events = json.loads(stage.type("maria", f"ispagent audit list --change {change} --json", show=False))
    outcome = next(e["seq"] for e in events if e["kind"] == "step-outcome")
    stage.type("maria", f"ispagent audit proof {outcome} --out proof.txt")
    stage.type("auditor", f"python -m trust verify proof.txt --vkey {key}")
    stage.type("maria", f"ispagent audit export {change} --out evidence.jsonl")
    stage.type("auditor", f"python -m trust verify evidence.jsonl --vkey {key}")


def play(stage: Stage) -> None:
    """The whole demo, in an order that teaches."""
    lab = set_up(stage)
    path = stage.folder / "isp" / "subscribers.csv"
    rows = [r for r in owing(read_rows(path)) if lab.about(r)["online"] and lab.about(r)["mapped"]]
    rows = [r for r in rows if not r["protected"]][:8]
    rows.sort(key=lambda r: lab.about(r)["nas"] == CLOSED)  # the first on a router whose rules and lists can be seen
    first = one_service(stage, lab, rows[0])
    many = batch(stage, lab, rows)
    refusals(stage, rows[1], first)
    evidence(stage, many)
    demo_cloud.play(stage, lab, rows[2:])
    stage.type("maria", "ispagent change list")


def main() -> int:
    """Play the demo; return its exit code."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="ispagents-demo-"))
    stage = Stage(folder)
    try:
        play(stage)
    except (DemoError, subprocess.TimeoutExpired, OSError) as err:
        print(f"\nTHE DEMO FAILED: {err}", file=sys.stderr)
        for program in stage.running:
            print(f"--- {program.command}\n{program.said()[-2000:]}", file=sys.stderr)
        return 1
    finally:
        stage.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n# Done in {time.monotonic() - started:.0f} s. Nothing is left running; all was in a temporary folder.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
