"""Mistakes put into a copy of the agent by hand: the simulation must find each. `python -m tests.sim.mutants [NAME…]`.

A mutant that it does not find shows a hole in the judge or in the world. docs/testing.md has the table.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FIRST: Final = 1000
ACTS: Final = ("--acts", "none")
"""The worlds in which the mistakes of docs/testing.md were looked for."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake: in a file, one text in the place of another. `why`: what it does wrong.

    `faults`: those under which it shows, where others only cost time; "": those that each seed draws.
    """

    name: str
    file: str
    old: str
    new: str
    why: str
    faults: str = ""


MUTANTS: Final = (
    Mutant(
        "act-before-durable",
        "agent/changes/engine/steps.py",
        "            ticket = await self._about_to(action)\n",
        "            early = self.tickets.ticket(self.item, action, 1)\n"
        "            if not isinstance(action.do, Effect):\n"
        "                await session.send(early)\n"
        "            ticket = await self._about_to(action)\n",
        "rows are written before the log durably says that they will be",
    ),
    Mutant(
        "skip-read-back",
        "agent/changes/engine/perform.py",
        "                outcome = await _read_back(session, ticket, sent.said, clock, patience)\n",
        "                if isinstance(sent.said, Reply):\n"
        "                    outcome = await _read_back(session, ticket, sent.said, clock, patience)\n"
        "                else:\n"
        '                    outcome = StepOutcome(Verdict.APPLIED, TargetReason.READ_BACK, "")\n',
        "a step whose reply was lost is called applied, and nobody reads it back",
    ),
    Mutant(
        "fit-is-thrown-out",
        "agent/connectors/radius/session.py",
        "            if to_end_again(effect, session_fields(session.value), began[where])\n"
        "            and not has_it(effect, self._parse(where)[1], session_fields(session.value))\n",
        "",
        "a session that already has what is wanted is ended at each further attempt",
        "stop-lost,reply-lost",
    ),
    Mutant(
        "requester-counts",
        "trust/verify.py",
        "{requester, plan.requester}, circumstances)\n    more",
        "set(), circumstances)\n    more",
        "whoever asked for a change approves it too",
    ),
    Mutant(
        "reason-not-recorded",
        "agent/changes/engine/tickets.py",
        "        move = self._move(item.n, event, reason, detail, desired)\n",
        "        move = self._move(item.n, event, reason, detail, ())\n",
        "a change that ends does not record why the service is suspended now",
    ),
    Mutant(
        "begun-is-forgotten",
        "agent/changes/worker.py",
        "            for row in plans.unfinished(self._parts.store.reader):\n"
        "                self._start(nursery, row)\n",
        "",
        "after a crash nobody goes on with the changes that were begun",
    ),
    Mutant(
        "rollback-is-not-seen",
        "agent/uplink/receiving.py",
        "            if epoch != known_epoch or hello.newest < after:\n",
        "            if epoch != known_epoch:\n",
        "what a control plane takes after a rollback, an owner's freeze too, never reaches the agent",
        "cloud-rolled-back",
    ),
    Mutant(
        "lost-posts-stay-lost",
        "agent/uplink/sending.py",
        "        await self.store.run(Asked() if known else TellAgain())\n",
        "        await self.store.run(Asked())\n",
        "a control plane that was put back is not told again of the agent's posts that it lost",
        "cloud-rolled-back",
    ),
    Mutant(
        "lift-lifts-all",
        "agent/changes/authority/stops.py",
        "        named = [bytes.fromhex(sha256) for sha256 in self.unfreeze.freezes]\n",
        '        named = [bytes(row["digest"]) for row in tx.all("SELECT digest FROM freeze")]\n',
        "a lift that comes again ends the freezes that came after it",
        "cloud-replays",
    ),
    Mutant(
        "taken-before-durable",
        "control_plane/service.py",
        "        stored = await asyncio.shield(asyncio.create_task(self._run_and_ring(command)))\n",
        "        asyncio.create_task(self._run_and_ring(command))\n        stored = Stored()\n",
        "the control plane says that it has a message before that is durable",
        "cloud-killed-at-commit",
    ),
    Mutant(
        "silence-is-not-told",
        "control_plane/desk/feed.py",
        "        if silent and RECEIPT_S <= ",
        "        if silent and MISSED_S <= ",
        "a desk does not say that a statement has no receipt",
        "cloud-withholds",
    ),
    Mutant(
        "receipt-is-lost",
        "agent/changes/remote/inbox_handler.py",
        '        done = Done(row.id, tuple(Post("receipt", a.receipt) for a in answers if a.receipt))\n',
        "        done = Done(row.id)\n",
        "a statement takes effect, and its receipt is not sent",
        "cloud-killed",
    ),
    Mutant(
        "over-is-not-seen",
        "agent/changes/journal/item_commands.py",
        "    if direction is Direction.FORWARD and state in FINAL:\n"
        '        raise RefusedCommandError(RefusalReason.OVER, f"the item is {state.value}")\n',
        "",
        "a restore that supersedes an item which only records crashes the run of others",
        "none",
    ),
    Mutant(
        "nothing-sent-unchecked",
        "agent/changes/engine/item.py",
        "        return await self._begin() if self._unsent() else None\n",
        '        return await self._steps.move(Event.BEGIN, "") if self._unsent() else None\n',
        "an item with nothing left to send is recorded, whatever was changed, paid, cancelled or frozen since",
        "router-flows-stay",
    ),
    Mutant(
        "unknown-session-is-done",
        "agent/connectors/radius/connector.py",
        "watched, places_of(m, config.nas, read.keys())\n",
        "watched\n",
        "a line of which accounting knows no session is called offline, and no NAS is asked",
        "start-lost",
    ),
    Mutant(
        "nas-not-asked",
        "agent/connectors/radius/session.py",
        "        if not found and effect.args.get(BY_NAME):\n",
        "        if not found and effect.args.get(BY_NAME) == EACH_ANSWERS:\n",
        "no NAS is asked where accounting knows no session",
        "start-lost",
    ),
    Mutant(
        "ghosts-carry-on",
        "agent/connectors/radius/addresses.py",
        "for uid, fields in sessions_of(value).items() if DENIED not in fields}",
        "for uid, fields in sessions_of(value).items()}",
        "a session that its NAS denies counts, and is said to carry on",
        "stop-lost",
    ),
    Mutant(
        "away-is-a-failure",
        "agent/changes/engine/perform.py",
        "frozenset({TargetReason.UNREACHABLE, TargetReason.TIMEOUT, TargetReason.HUNG_UP, TargetReason.CUT})",
        "frozenset[str]()",
        "a database that is away for seconds ends the items that wait for it",
        "sql-restart,sql-away",
    ),
    Mutant(
        "blind-write",
        "agent/connectors/radius/sql.py",
        "        if observed != self.before:\n"
        "            yield from _rollback()\n"
        "            return Drift(observed)\n"
        "        spelling",
        "        spelling",
        "rows are written without a comparison with those of the preview",
        "sql-other-writer,staff",
    ),
    Mutant(
        "cancel-comes-too-late",
        "agent/changes/journal/item_commands.py",
        '    if row["cancelled"]:\n',
        '    if row["cancelled"] and row["consumed_seq"] is None:\n',
        "a step is begun though its change was cancelled after the one before it",
        "nas-silent,reply-lost",
    ),
    Mutant(
        "forgotten-by-failover",
        "agent/changes/engine/reads.py",
        "        if found:\n            lost += await",
        "        if found and not steps:\n            lost += await",
        "nobody reads at the end of a batch what it set: a database had forgotten it",
        "sql-failover",
    ),
    Mutant(
        "cpe-yes-is-believed",
        "agent/connectors/cwmp/cpe_session.py",
        "        whats = {a: self._what(a) for a in addresses_}\n",
        "        whats = {a: self._what(a) for a in addresses_}\n"
        "        if self._written.keys() >= whats.keys() and whats:\n"
        "            return {a: self.seen(self._written[a]) for a in whats}\n",
        "a CPE that said OK is not read back",
        "cpe-ignores-writes",
    ),
    Mutant(
        "cpe-asked-again",
        "agent/connectors/cwmp/line_session.py",
        "        answer = await self.ask(call, m.SetParameterValues(tuple(values), key))\n",
        "        try:\n"
        "            answer = await self.ask(call, m.SetParameterValues(tuple(values), key))\n"
        "        except LostError:\n"
        "            answer = await self.ask(await self.wait(), m.SetParameterValues(tuple(values), key))\n",
        "values are set again after a lost answer, without a look at the CPE",
        "cpe-loses-answers",
    ),
    Mutant(
        "cpe-old-boot-counts",
        "agent/connectors/cwmp/effects_session.py",
        "            return {address(line.target.id, addresses.BOOTS): await line.read_told(addresses.BOOTS)}\n",
        "            await line.read_told(addresses.BOOTS)\n"
        '            before = line.seen({"count": str(line.cpe().boots - 1)})\n'
        "            return {address(line.target.id, addresses.BOOTS): before}\n",
        "a boot from before counts as the one that was asked for",
        "cpe-boots",
    ),
    Mutant(
        "cpe-refused-secret-counts",
        "agent/connectors/cwmp/cpe_session.py",
        "        if reply.accepted and secrets:\n",
        "        if secrets:\n",
        "a secret that the CPE refused counts as taken",
        "cpe-refuses",
    ),
    Mutant(
        "old-account-cuts",
        "agent/billing/sources.py",
        "        if old := [name for name in found if self._why_unread(name) or not self._was_read(name, young_s)]:\n",
        "        if old := [name for name in found if not self._was_read(name, 1e12 + young_s)]:\n",
        "an account is not read again before a cut",
        "billing-clock-wrong",
    ),
    Mutant(
        "payer-is-not-looked-for",
        "agent/changes/paid.py",
        "                await self._look(nursery)\n",
        "                await trio.lowlevel.checkpoint()\n",
        "nobody asks for the restore of a payer",
        "billing-clock-wrong",
    ),
    Mutant(
        "router-row-is-not-compared",
        "agent/connectors/routeros/session.py",
        "        if now != transition.before.value:\n            observed = {transition",
        "        if False:\n            observed = {transition",
        "a router's row is written although another administrator changed it since the preview",
        "router-staff,router-safe-mode",
    ),
    Mutant(
        "router-rules-are-not-read",
        "agent/connectors/routeros/access.py",
        "            if isinstance(how, CannotEnforce):\n                return Judgment(Enforced.NO",
        "            if False:\n                return Judgment(Enforced.NO",
        "a suspension is called applied while the rule that keeps its subscriber in is off",
        "router-rule-off",
    ),
    Mutant(
        "router-first-tariff",
        "agent/connectors/routeros/access.py",
        "suspended else self._method.tariffs[wanted.tariff]}",
        "suspended else next(iter(self._method.tariffs.values()))}",
        "whatever the tariff, a subscriber gets the profile of the first one",
        "router-redials",
    ),
    Mutant(
        "router-session-is-left",
        "agent/connectors/routeros/session.py",
        '        return await self._end(api, ticket, running, [row[".id"] for row in own])\n',
        "        return await self._end(api, ticket, running, [])\n",
        "sessions are not ended after their row was written",
        "router-redials",
    ),
    Mutant(
        "mark-file-is-ignored",
        "agent/changes/auditlog/recovery.py",
        "    if outside is not None:\n        older = older or",
        "    if mark_file is not None:\n        return MarksVerdict(older)\n"
        "    if outside is not None:\n        older = older or",
        "a state directory that was put back whole runs its plans again",
        "copy-put-back",
    ),
    Mutant(
        "mark-is-not-raised",
        "agent/changes/journal/commands.py",
        "        self.then(tx)\n        tx.raise_high_water = True\n",
        "        self.then(tx)\n",
        "a plan that is used is not known to the marks",
        "copy-put-back",
    ),
    Mutant(
        "restored-is-not-void",
        "agent/changes/auditlog/recovery.py",
        "        return void_unconsumed(tx) + (0 if self.running else give_up_unfinished(tx, self.sealed))\n",
        "        return 0\n",
        "a database that is known for an old one keeps its plans, and goes on with them",
        "copy-put-back",
    ),
    Mutant(
        "log-is-not-synced",
        "durable/files.py",
        'con.execute("PRAGMA synchronous = FULL")',
        'con.execute("PRAGMA synchronous = NORMAL")',
        "a commit is acted on before the disk has it",
        "power-cut",
    ),
    Mutant(
        "storage-is-not-checked",
        "agent/daemon.py",
        "        await check_storage(self.config.state_dir)\n",
        "        await trio.lowlevel.checkpoint()\n",
        "an agent goes on with a damaged database",
        "page-flipped",
    ),
    Mutant(
        "damage-is-a-crash",
        "agent/runtime/supervise.py",
        "        return isinstance(err, fatal) or ends_program(err)\n",
        "        return isinstance(err, fatal)\n",
        "a task that reads a damaged page is started again, and nobody looks at the other pages",
        "page-rots",
    ),
    Mutant(
        "halt-is-not-kept",
        "agent/changes/clock_watch.py",
        '        tx.run("INSERT INTO meta (key, value) VALUES (?, ?)", (HALT, str(self.jump_s).encode()))\n',
        "",
        "a clock that was set by much is noticed, and halts nothing",
        "clock-stepped",
    ),
    Mutant(
        "port-is-left-without-power",
        "agent/connectors/snmp/port_session.py",
        "self._parse(ticket.do.address).what != CYCLE:\n            return\n        await self.settle()\n",
        "self._parse(ticket.do.address):\n            return\n        await self.settle()\n",
        "a port whose power cycle a crash cut short is not switched on again",
        "agent-killed,snmp-flaps",
    ),
    Mutant(
        "port-is-not-compared",
        "agent/connectors/snmp/port_session.py",
        "            if observed[write.address].value != write.before.value:\n",
        "            if False:\n",
        "a port is written although another administrator changed it since the preview",
        "snmp-staff",
    ),
    Mutant(
        "community-proves",
        "agent/connectors/snmp/notifications.py",
        "        return _notification(message.pdu, answer, authenticated=False)\n",
        "        return _notification(message.pdu, answer, authenticated=True)\n",
        "a trap that anybody may have sent changes the state of a port",
        "snmp-traps-forged",
    ),
    Mutant(
        "own-way-is-cut",
        "agent/connectors/snmp/port_ways.py",
        "        if index in where:\n",
        "        if False:\n",
        "a port is switched off by which the agent reaches the switch",
        "snmp-way-moves",
    ),
    Mutant(
        "counter-is-guessed",
        "agent/line_model/rates.py",
        "            if not is_over or part.key in before.over:\n",
        "            if part.counters:\n",
        "a 32-bit counter that was cleared is taken for one that wrapped",
        "snmp-wraps",
    ),
    Mutant(
        "unproven-is-already",
        "agent/changes/planning/preview.py",
        "        left = await unproven_suspensions(self.store, self.vault, refs)\n",
        "        left: dict[str, UnprovenSuspension] = {}\n",
        "a suspension that was set and not seen enforced is said to be there already",
        faults="router-flows-stay",
    ),
)


def put(mutant: Mutant, place: Path) -> None:
    """Copy the programs to an empty folder, and put a mistake into the copy."""
    for name in ("agent", "control_plane", "durable", "trust", "tests"):
        shutil.copytree(ROOT / name, place / name)
    for name in ("backups", "protos", "lab"):
        (place / name).symlink_to(ROOT / name)
    file = place / mutant.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.name}: expected its text once in {mutant.file}, got {text.count(mutant.old)}")
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def run(mutant: Mutant, cpu_s: float) -> tuple[str, str]:
    """Return what the simulation says of a mutant: its line of the table, and what it saw."""
    with tempfile.TemporaryDirectory() as folder:
        put(mutant, Path(folder))
        # -P keeps the tree itself from coming before the copy, by way of the working directory
        code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from tests.sim.__main__ import main; sys.exit(main())"
        command = [sys.executable, "-P", "-c", code, folder]
        done = subprocess.run(
            [*command, "--first", str(FIRST), "--cpu-s", str(cpu_s), "--until-false", *ACTS, "--faults", mutant.faults],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = done.stdout.splitlines()
        last = lines[-1] if lines else done.stderr[-300:]
        return last, "\n".join(line for line in lines if line.startswith("  ") or "FALSE" in line) + done.stderr[-1500:]


def main() -> int:
    """Run the mutants that are named, or all; return 1 when one was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutants", description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--cpu-s", type=float, default=600.0, help="how much CPU time for each")
    asked = parser.parse_args()
    missed = 0
    for mutant in MUTANTS:
        if asked.names and mutant.name not in asked.names:
            continue
        last, saw = run(mutant, asked.cpu_s)
        print(f"{mutant.name}: {mutant.why}\n  {last}\n{saw}", flush=True)
        missed += "0 with something false" in last
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
