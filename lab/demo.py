"""`make demo`: the main job, typed out. A lab ISP, an agent, three people with a key each; nothing is left running.

It only types commands, as a person would, and stops with exit code 1 at the first answer that is not as it should be.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

WAIT_S = 60.0
SERVICES = 900


class DemoError(Exception):
    """Something answered otherwise than it should."""


class Stage:
    """A folder, the programs that run in it, and the people who type."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []
        bin_dir = Path(sys.executable).parent
        self.env = {
            **os.environ,
            "PATH": f"{bin_dir}{os.pathsep}{os.environ.get('PATH', '')}",
            "HOME": str(folder),
            "ISPAGENT_CONFIG": "agent.toml",
            "ISPCLOUD_TRUST": "trust.json",
            "ISPCLOUD_PASSPHRASE_FILE": "passphrase",
            "COLUMNS": "100",
            "PYTHONUNBUFFERED": "1",
        }

    def say(self, text: str) -> None:
        """Explain what comes."""
        print(f"\n\033[1m# {text}\033[0m" if sys.stdout.isatty() else f"\n# {text}")

    def type(self, who: str, command: str, *, exits: Sequence[int] = (0,), text: str = "", show: bool = True) -> str:
        """Type a command as `who`; print what it prints; return it."""
        print(f"{who}$ {command}{f'   < {len(text)} bytes' if text else ''}", flush=True)
        env = {**self.env, "ISPCLOUD_STATE": f"{who}.heads.json"}
        done = subprocess.run(
            shlex.split(command),
            cwd=self.folder,
            env=env,
            input=text,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        out = done.stdout + done.stderr
        if show or done.returncode not in exits:
            print(out.rstrip())
        if done.returncode not in exits:
            raise DemoError(f"expected exit code {' or '.join(map(str, exits))}, got {done.returncode}: {command}")
        if done.returncode:
            print(f"(exit code {done.returncode})")
        return out

    def start(self, command: str, ready: str) -> None:
        """Start a program and wait until it prints that it is ready."""
        print(f"site$ {command} &", flush=True)
        path = self.folder / "programs.log"
        log = path.open("ab")
        process = subprocess.Popen(
            shlex.split(command), cwd=self.folder, env=self.env, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        self.running.append(process)
        until = time.monotonic() + WAIT_S
        while ready not in path.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise DemoError(f"did not start: {command}\n{path.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End what was started, last first."""
        for process in reversed(self.running):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.running.clear()


class Lab:
    """The lab's own view: who is online with what, and its faults. Not the agent's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.services = json.loads((folder / "lab.json").read_text())["services"]
        self.secrets = json.loads((folder / "lab.json").read_text())["secrets"]

    def ask(self, **command: str) -> dict[str, object]:
        """Return the answer of the lab's control socket."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(os.path.relpath(self._folder / "lab.sock"))
            sock.sendall(json.dumps(command).encode() + b"\n")
            answer: dict[str, object] = json.loads(sock.makefile().readline())
        if not answer.get("ok"):
            raise DemoError(f"the lab refuses {command}: {answer}")
        return answer

    def session(self, login: str) -> str:
        """Return the login's session in one line, as the BNG sees it."""
        found = self.ask(do="sessions", login=login)["sessions"]
        return json.dumps(found[0]) if isinstance(found, list) and found else "offline"

    def debtors(self, csv_path: Path) -> list[dict[str, str]]:
        """Return the rows of those who are overdue."""
        today = time.strftime("%Y-%m-%d", time.gmtime())
        with csv_path.open(encoding="utf-8", newline="") as file:
            return [r for r in csv.DictReader(file) if float(r["balance"]) > 0 and r["due"] < today]

    def about(self, row: dict[str, str]) -> dict[str, object]:
        """Return what the lab knows of a row's service."""
        return next(s for s in self.services if s["login"] == row["login"])


def change_id(preview: str) -> str:
    """Return the change's id out of its preview's first line."""
    found = re.search(r"· ([0-9A-Z]{5}) ·", preview.splitlines()[0])
    if found is None:
        raise DemoError(f"no change id in: {preview.splitlines()[0]}")
    return found[1]


def expect(text: str, *wanted: str) -> None:
    """Stop the demo when a text lacks what it must say."""
    for part in wanted:
        if part not in text:
            raise DemoError(f"expected {part!r} in the answer above")


def set_up(stage: Stage) -> Lab:
    """A network, an agent, three people who trust each other and nobody else."""
    stage.say(f"A small ISP on loopback: {SERVICES} services, three BNG, a RADIUS server and its database.")
    stage.start(f"python -m lab isp --dir isp --subscribers {SERVICES} --nas 3", "lab ready")
    lab = Lab(stage.folder / "isp")
    mapping = (stage.folder / "isp" / "mapping.toml").read_text()
    mapping = mapping.replace('path = "', 'path = "').replace(str(stage.folder) + "/", "")
    (stage.folder / "agent.toml").write_text(
        '[agent]\nname = "noc-1"\nstate_dir = "state"\n\n'
        f'[people]\n{os.getuid()} = "maria"\n\n'
        "[policy]\nsoak_s = 2\npace = 8\nstop_failed_percent = 5\n\n"
        f'[billing]\nfile = "isp/subscribers.csv"\n\n{mapping}'
    )
    (stage.folder / "passphrase").write_text("correct horse battery staple\n")
    (stage.folder / "passphrase").chmod(0o600)

    stage.say("The agent makes its own keys. Its words are what people compare; nothing is trusted on first use.")
    words = stage.type("site", "ispagent init --enroll enroll.json")
    agent_words = re.search(r"words +(\S+)", words)
    if agent_words is None:
        raise DemoError("ispagent init printed no words")

    stage.say("Three people, each with a key under a passphrase. Keys never leave their people.")
    publics = {}
    for who in ("maria", "joseph", "lena"):
        out = stage.type(who, f"ispcloud keys new --out {who}.key --person {who}", show=who == "maria")
        found = re.search(r"\b([0-9a-f]{64})\b", out)
        if found is None:
            raise DemoError("ispcloud keys new printed no public key")
        publics[who] = found[1]

    stage.say("The trust document: who may approve what. Two of two owners sign it; the agent's words are typed.")
    stage.type(
        "lena",
        f"ispcloud trust init --root-threshold 2 --owner lena={publics['lena']} --owner joseph={publics['joseph']}"
        " --policy-preset demo",
    )
    stage.type(
        "lena",
        f"ispcloud trust add person maria --key {publics['maria']} --role requester --role approver --sees-subscribers",
    )
    stage.type("lena", "ispcloud trust add agent --enroll enroll.json --words wrong-words", exits=(2, 3))
    stage.type("lena", f"ispcloud trust add agent --enroll enroll.json --words {agent_words[1]}")
    stage.type("lena", "ispcloud trust sign trust.draft.json --key lena.key --yes", show=False)
    stage.type("joseph", "ispcloud trust sign trust.json --key joseph.key --yes", show=False)
    shown = stage.type("lena", "ispcloud trust show trust.json")
    head = re.search(r"\b((?:[a-z]{5}-){7}[a-z]{5})\b", shown)
    if head is None:
        raise DemoError("ispcloud trust show printed no words")

    stage.say("The agent starts. At its console somebody types the head's words; then secrets, then the subscribers.")
    stage.start("ispagent run", "listening on")
    stage.type(
        "site", "ispagent trust install trust.json --words lusab-babad-gutih-tugad-lusab-babad-gutih-tugad", exits=(3,)
    )
    stage.type("site", f"ispagent trust install trust.json --words {head[1]}")
    for name, secret in lab.secrets.items():
        stage.type("site", f"ispagent secret set {name} --stdin", text=secret, show=False)
    stage.type("maria", "ispagent subscriber import isp/subscribers.csv")
    stage.type("maria", "ispagent status")
    return lab


def approve(stage: Stage, change: str, who: str, count: int, *, show: bool = True) -> str:
    """Carry a change to a person by file, and their approval back."""
    stage.type("maria", f"ispagent change show {change} --export {change}", show=False)
    stage.type(
        who,
        f"ispcloud changes approve --file {change} --key {who}.key --yes-i-read-it {count} --out {change}.{who}",
        show=show,
    )
    return stage.type("maria", f"ispagent change approve {change} --file {change}.{who}")


def one_service(stage: Stage, lab: Lab, row: dict[str, str]) -> str:
    """Suspend one service, see it enforced, take it back."""
    login, ref = row["login"], f"{row['subscriber']}/{row['service']}"
    stage.say(f"One who owes: {ref}. Asking shows what would happen; nothing is sent.")
    print(f"# the BNG's own view: {lab.session(login)}")
    change = change_id(stage.type("maria", f"ispagent change suspend {ref}"))

    stage.say("Maria asked, so Maria cannot approve: her own tool says so, and the agent would as well.")
    stage.type("maria", f"ispagent change show {change} --export {change}")
    own = stage.type(
        "maria",
        f"ispcloud changes approve --file {change} --key maria.key --yes-i-read-it 1 --out own.json",
        exits=(3,),
    )
    expect(own, "another person must approve")

    stage.say("Joseph's tool verifies the agent's signature and every item, shows those bytes, and signs.")
    expect(approve(stage, change, "joseph", 1), "approved")
    end = stage.type("maria", f"ispagent change watch {change}")
    expect(end, "enforced now", "in the garden")
    print(f"# the BNG's own view: {lab.session(login)}")

    stage.say("It can be taken back: a new plan from today's state, approved again.")
    back = change_id(stage.type("maria", f"ispagent change revert {change}"))
    approve(stage, back, "lena", 1, show=False)
    expect(stage.type("maria", f"ispagent change watch {back}"), "enforced now")
    print(f"# the BNG's own view: {lab.session(login)}")
    return change


def pick_batch(lab: Lab, rows: list[dict[str, str]], all_rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return 40 rows: debtors, among them offline, unmapped and protected ones, and one who does not owe."""
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
    return [*kinds["online"][: 40 - len(rest)], *rest]


def batch(stage: Stage, lab: Lab) -> str:
    """Forty at once: a canary, a soak, the rest; each of them answered for."""
    path = stage.folder / "isp" / "subscribers.csv"
    with path.open(encoding="utf-8", newline="") as file:
        all_rows = list(csv.DictReader(file))
    debtors = lab.debtors(path)[3:]
    chosen = pick_batch(lab, debtors, all_rows)
    (stage.folder / "overdue.txt").write_text("".join(f"{r['subscriber']}/{r['service']}\n" for r in chosen))
    online = [r for r in chosen[:20] if lab.about(r)["online"] and lab.about(r)["mapped"]]
    stage.say("A batch of 40. Those that would not change say why; two people approve; five go first.")
    preview = stage.type("maria", "ispagent change suspend --file overdue.txt")
    change = change_id(preview)
    counted = re.search(r"(\d+) WOULD CHANGE", preview)
    if counted is None:
        raise DemoError("the preview says not how many would change")
    expect(approve(stage, change, "joseph", int(counted[1]), show=False), "1 of 2")

    stage.say("Meanwhile one of them pays, and one BNG will answer ACK without doing anything.")
    payer, stubborn = online[-1], online[7]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(all_rows[0]))
        writer.writeheader()
        for row in all_rows:
            if row["subscriber"] == payer["subscriber"] and row["balance"]:
                row = {**row, "balance": "0.00", "paid_at": now}
            writer.writerow(row)
    print(f"# {payer['subscriber']} pays at {now}; fault for {stubborn['login']}: ack-without-effect")
    lab.ask(do="fault", login=stubborn["login"], fault="ack-without-effect")

    expect(approve(stage, change, "lena", int(counted[1]), show=False), "2 of 2")
    stage.type("maria", f"ispagent change watch {change}", exits=(4,), show=False)
    end = stage.type("maria", f"ispagent change show {change}")
    expect(end, "1 NEEDS YOU", "SET, NOT ENFORCED", "skipped", "at next login")

    stage.say("The one that is set and not enforced is tried again, under the same approval.")
    lab.ask(do="fault", login=stubborn["login"], fault="none")
    stage.type("maria", f"ispagent change retry {change}", show=False)
    stage.type("maria", f"ispagent change watch {change}", show=False)
    expect(stage.type("maria", f"ispagent change show {change} --open"), "no item needs a person")
    return change


def refusals(stage: Stage, row: dict[str, str], other: str) -> None:
    """What is not as it was previewed is not sent; what is not signed by the right person does not count."""
    ref, login = f"{row['subscriber']}/{row['service']}", row["login"]
    stage.say("Between preview and approval somebody edits the row: the plan is stale, and nothing is sent.")
    change = change_id(stage.type("maria", f"ispagent change suspend {ref} --reason request", show=False))
    stage.type("maria", f"ispagent change show {change} --export {change}", show=False)
    stage.type(
        "joseph",
        f"ispcloud changes approve --file {change} --key joseph.key --yes-i-read-it 1 --out {change}.joseph",
        show=False,
    )

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
    """The log adds up, and somebody who trusts nobody can check it."""
    stage.say("Everything above is in an append-only log; the agent recomputes it, an auditor needs only `trust`.")
    verified = stage.type("maria", "ispagent audit verify")
    key = re.search(r"log key (\S+)", verified)
    if key is None:
        raise DemoError("audit verify printed no key")
    events = json.loads(stage.type("maria", f"ispagent audit list --change {change} --json", show=False))
    outcome = next(e["seq"] for e in events if e["kind"] == "step-outcome")
    stage.type("maria", f"ispagent audit proof {outcome} --out proof.txt")
    stage.type("auditor", f"python -m trust verify proof.txt --vkey {key[1]}")
    stage.type("maria", f"ispagent audit export {change} --out evidence.jsonl")
    stage.type("auditor", f"python -m trust verify evidence.jsonl --vkey {key[1]}")


def play(stage: Stage) -> None:
    """The whole demo, in an order that teaches."""
    lab = set_up(stage)
    path = stage.folder / "isp" / "subscribers.csv"
    debtors = [r for r in lab.debtors(path) if lab.about(r)["online"] and lab.about(r)["mapped"] and not r["protected"]]
    first = one_service(stage, lab, debtors[0])
    many = batch(stage, lab)
    refusals(stage, debtors[1], first)
    evidence(stage, many)
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
        log = folder / "programs.log"
        if log.exists():
            print(log.read_text()[-3000:], file=sys.stderr)
        return 1
    finally:
        stage.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n# Done in {time.monotonic() - started:.0f} s. Nothing is left running; all was in a temporary folder.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
