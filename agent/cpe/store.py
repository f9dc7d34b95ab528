"""CPE in the database: implements `cpe_model.known.CpeBook`, and people's decisions about a CPE.

A CPE's values are kept as the last known ones, with their age; secrets are kept sealed, and only those that a change is
to set or has set. Nothing here sends anything.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from agent.changes.journal.item_commands import refuse_if_held
from agent.cpe import history
from agent.cpe.query import KnownCpe, is_own_mac
from agent.cpe_model import limits, tracked
from agent.cpe_model.breaker import BreakerRow
from agent.cpe_model.errors import BadCredentialsError
from agent.cpe_model.known import Acceptance, CachedParameter, Called, Cpe, Credentials, Pending, retried_within_s, says
from agent.cpe_model.networks import network_of
from agent.inventory import finding
from agent.model import Address
from agent.reasons import RefusalReason
from agent.runtime.notifier import Notifier
from agent.store.db import Store, Tx
from agent.store.errors import RefusedCommandError
from agent.store.log_store import Entry, Sealed
from agent.store.stored import members, reads_row_of
from agent.store.vault import Vault
from trust.leaf import LeafKind

EVIDENCE_S: Final = 3600
"""The same evidence of a model is written once in so many seconds: how often it worked is counted by the hour."""
EVIDENCE_MEMO: Final = 10_000
SECRET_KEEP_S: Final = 40 * 86_400
"""How long a secret is kept that no CPE is known to have taken: longer than any change may wait."""
PASSWORD: Final = "ManagementServer.Password"
USERNAME: Final = "ManagementServer.Username"
REQUEST_USERNAME: Final = "ManagementServer.ConnectionRequestUsername"
REQUEST_PASSWORD: Final = "ManagementServer.ConnectionRequestPassword"
_OURS = "M Reboot"
"""The event of a boot that an ACS asked for (TR-069 section 3.7.1.5)."""
_TOO_MANY = "more CPE wait to be accepted than are remembered"
_LOOK_EVERY: Final = 100
"""CPE in quarantine between two looks for those that have been there too long; as many parts of `limits.NEW_CPE` go at
once.
"""
_SHARED = "it came with credentials that many share, having had its own: it was reset, or is another"
_AT_ONCE: Final = 500
"""Paths in one query: SQLite takes 32,766 parameters, older ones 999."""
_TABLES: Final = (
    "cpe", "cpe_value", "cpe_read", "cpe_secret_set", "cpe_pending", "cpe_login", "cpe_breaker", "cpe_tag",
    "cpe_sample",
)  # fmt: skip
"""All that is known of a CPE, by its name."""
TAGS_MAX: Final = 32
"""Tags of one CPE. Chosen arbitrarily."""
_LAST: Final = "\uffff"
"""After every character of a path."""


@reads_row_of("cpe")
def _cpe(row: sqlite3.Row) -> Cpe:
    return Cpe(
        name=row["name"],
        oui=row["oui"],
        product_class=row["product_class"],
        serial=row["serial"],
        manufacturer=row["manufacturer"],
        trust=Acceptance(row["trust"]),
        why=row["why"],
        root=row["root"],
        software=row["software"],
        hardware=row["hardware"],
        service=row["service"],
        user=row["user"],
        own=bool(row["own"]),
        address=row["address"],
        request_url=row["request_url"],
        udp_address=row["udp_address"],
        events=tuple(json.loads(row["events"])),
        reboot_key=row["reboot_key"],
        first_s=row["first_s"],
        last_s=row["last_s"],
        boots=row["boots"],
        resets=row["resets"],
        provisioned=row["provisioned"],
        accepted_seq=row["accepted_seq"],
        claimed=bool(row["claimed"]),
        certified=bool(row["certified"]),
        assured=row["assured"],
    )


@reads_row_of("cpe_pending")
def _pending(row: sqlite3.Row) -> Pending:
    return Pending(row["key"], json.loads(row["secrets"]))


@reads_row_of("cpe_breaker")
def _breaker_rows(row: sqlite3.Row) -> list[BreakerRow]:
    return [tuple(one) for one in json.loads(row["rows"])]


def find(query: Callable[[str, Sequence[object]], list[sqlite3.Row]], name: str) -> Cpe | None:
    """Return a CPE by its name; `query` is a reader's, or a transaction's `all`."""
    rows = query("SELECT * FROM cpe WHERE name = ?", (name,))
    return _cpe(rows[0]) if rows else None


def values(
    query: Callable[[str, Sequence[object]], list[sqlite3.Row]], name: str, paths: Sequence[str] | None = None
) -> dict[str, CachedParameter]:
    """Return the known values of a CPE's parameters, of all or of some."""
    if paths is None:
        rows = query("SELECT * FROM cpe_value WHERE name = ? ORDER BY path", (name,))
    else:
        rows = []
        for at in range(0, len(paths), _AT_ONCE):
            some = paths[at : at + _AT_ONCE]
            marks = ",".join("?" * len(some))
            rows += query(f"SELECT * FROM cpe_value WHERE name = ? AND path IN ({marks})", (name, *some))  # noqa: S608  question marks alone
    return {r["path"]: _known(r) for r in rows}


def _known(row: sqlite3.Row) -> CachedParameter:
    return CachedParameter(row["value"], row["type"], row["at_s"], before_reset=bool(row["before_reset"]))


# --- commands: what a CPE says ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CpeCalled:
    """A CPE called in."""

    called: Called

    def run(self, tx: Tx) -> Cpe:
        """Return the CPE as it is known then."""
        called = self.called
        before = find(tx.all, called.name)
        if before is None and not self._has_room(tx):
            return Cpe(called.name, called.oui, called.product_class, called.serial, why=_TOO_MANY)
        if before is not None and self._only_claims(tx, before):
            why = f"{_SHARED} (from {called.address})"
            tx.run("UPDATE cpe SET why = ?, claimed = 1 WHERE name = ?", (why, called.name))
            trust = Acceptance.REFUSED if before.trust is Acceptance.REFUSED else Acceptance.QUARANTINED
            return replace(before, trust=trust, why=why, claimed=True)
        boots, resets = self._news(before, "1"), self._news(before, "0")
        trust, why = (before.trust, before.why) if before else (Acceptance.QUARANTINED, "never seen before")
        if trust is Acceptance.ACCEPTED:
            why = ""
        # What an Inform leaves out stays: without its root nothing is planned, without its URL nobody can call it
        row = tx.one(
            "INSERT INTO cpe (name, oui, product_class, serial, manufacturer, trust, why, root, software, "
            "hardware, service, user, own, address, request_url, udp_address, events, first_s, last_s, boots, "
            "resets, reset_until_s, provisioned, claimed, accepted_seq, certified, reboot_key)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,'',?,?,?,?,?,?,?,?,?,?,0,-1,0,0,?,?)"
            " ON CONFLICT (name) DO UPDATE SET"
            " manufacturer = excluded.manufacturer, trust = excluded.trust, why = excluded.why,"
            " root = iif(excluded.root = '', root, excluded.root),"
            " software = iif(excluded.software = '', software, excluded.software),"
            " hardware = iif(excluded.hardware = '', hardware, excluded.hardware), user = excluded.user,"
            " reset_until_s = iif(excluded.own > own, 0, reset_until_s),"
            " own = excluded.own, claimed = iif(excluded.own, 0, claimed), certified = excluded.certified,"
            " address = excluded.address,"
            " request_url = iif(excluded.request_url = '', request_url, excluded.request_url),"
            " udp_address = excluded.udp_address, events = excluded.events, reboot_key = excluded.reboot_key,"
            " last_s = excluded.last_s,"
            " boots = boots + excluded.boots, resets = resets + excluded.resets RETURNING *",
            (
                called.name,
                called.oui,
                called.product_class,
                called.serial,
                called.manufacturer,
                trust.value,
                why,
                called.root,
                called.software,
                called.hardware,
                called.user,
                called.own,
                called.address,
                called.request_url,
                called.udp_address,
                json.dumps(called.events),
                called.at_s,
                called.at_s,
                boots,
                resets,
                called.certified,
                called.reboot_key,
            ),
        )
        if before is not None and self._regressed(before) and not self._reset_by_us(tx):
            row = tx.one("UPDATE cpe SET assured = 0 WHERE name = ? RETURNING *", (called.name,))
        if called.own:  # it has taken these: older ones of it are over, newer ones it may still take
            tx.run(
                "DELETE FROM cpe_login WHERE name = ? AND user <> ?"
                " AND at_s < (SELECT at_s FROM cpe_login WHERE name = ? AND user = ?)",
                (called.name, called.user, called.name, called.user),
            )
        if called.own and not called.user:  # by its certificate, which does not tell what it has taken: its answer did
            taken = "SELECT commitment FROM cpe_secret_set WHERE name = ?"
            tx.run(
                f"DELETE FROM cpe_login WHERE name = ? AND commitment NOT IN ({taken})"  # noqa: S608  a query of the line above
                f" AND at_s < (SELECT max(at_s) FROM cpe_login WHERE name = ? AND commitment IN ({taken}))",
                (called.name,) * 4,
            )
        if resets:  # it lost all secrets that it was given
            forget_secrets(tx, called.name)
            outdate(tx, called.name)
        self._keep_values(tx, trust)
        if row is None:
            raise RefusedCommandError(RefusalReason.UNKNOWN_CPE, f"there is no CPE {called.name}")
        return replace(_cpe(row), booted=boots)

    def _news(self, before: Cpe | None, code: str) -> bool:
        """Tell whether it says a thing that it has not said already, in a session that then failed."""
        called = self.called
        if not says(called.events, code) or before is None or not says(before.events, code):
            return says(called.events, code)
        if code == "1" and _OURS in called.events and _OURS not in before.events:
            return True  # it did what it was told to in that session
        if code == "1" and "" not in (called.reboot_key, before.reboot_key) and called.reboot_key != before.reboot_key:
            return True  # of another Reboot
        return not called.retry or called.at_s - before.last_s > retried_within_s(called.retry)

    def _keep_values(self, tx: Tx, trust: Acceptance) -> None:
        """Keep its Inform; of one that nobody accepted, only that, so that it cannot fill the database."""
        name, found = self.called.name, self.called.values
        if trust is not Acceptance.ACCEPTED:
            tx.run("DELETE FROM cpe_value WHERE name = ?", (name,))
            found = dict(islice(found.items(), limits.STRANGER_VALUES))
        else:
            keep_samples(tx, name, found)
        # Nearly every Inform names what the one before it did: then no row is made, and none need be counted or dropped
        updates = [(known.value, known.type, known.at_s, name, path) for path, known in found.items()]
        known_all = "UPDATE cpe_value SET value = ?, type = ?, at_s = ?, before_reset = 0 WHERE name = ? AND path = ?"
        if tx.many(known_all, updates) == len(found):
            return
        write_values(tx, name, found)
        if tx.all("SELECT count(*) AS n FROM cpe_value WHERE name = ?", (name,))[0]["n"] > limits.VALUES:
            oldest = "SELECT path FROM cpe_value WHERE name = ? ORDER BY at_s LIMIT ?"
            tx.run(
                f"DELETE FROM cpe_value WHERE name = ? AND path IN ({oldest})",  # noqa: S608  a query of the line above
                (name, name, limits.VALUES // 10),
            )

    def _has_room(self, tx: Tx) -> bool:
        """Tell whether quarantine has room for one more, once it is made.

        Whoever knows a password that many share can invent names without end. So those go that have been silent for
        long, then the oldest of the network with most. Those that a person bound to a service stay, as do those that
        have a password of their own.
        """
        waiting = self._waiting(tx)
        if waiting < limits.NEW_CPE and waiting % _LOOK_EVERY:
            return True
        forget_all(tx, self._going(tx, "last_s < ?", self.called.at_s - limits.QUARANTINE_S))
        if self._waiting(tx) < limits.NEW_CPE:
            return True
        by_network: Counter[str] = Counter()
        addresses = "SELECT address, count(*) AS n FROM cpe WHERE trust = ? GROUP BY address"
        rows = tx.all(addresses, (Acceptance.QUARANTINED.value,))
        for row in rows:
            by_network[network_of(row["address"])] += row["n"]
        for network, _ in by_network.most_common():
            own = json.dumps([row["address"] for row in rows if network_of(row["address"]) == network])
            if going := self._going(tx, "address IN (SELECT value FROM json_each(?))", own):
                forget_all(tx, going)
                return True
        return False

    @staticmethod
    def _waiting(tx: Tx) -> int:
        return int(tx.all("SELECT count(*) AS n FROM cpe WHERE trust = ?", (Acceptance.QUARANTINED.value,))[0]["n"])

    @staticmethod
    def _going(tx: Tx, where: str, what: object) -> list[str]:
        """Return names in quarantine that may be forgotten, the oldest first, a few at a time."""
        rows = tx.all(
            f"SELECT name FROM cpe WHERE trust = ? AND service = '' AND {where}"  # noqa: S608  a constant of this file
            " AND NOT EXISTS (SELECT 1 FROM cpe_login l WHERE l.name = cpe.name) ORDER BY last_s, name LIMIT ?",
            (Acceptance.QUARANTINED.value, what, max(1, limits.NEW_CPE // _LOOK_EVERY)),
        )
        return [row["name"] for row in rows]

    def _only_claims(self, tx: Tx, before: Cpe) -> bool:
        """Tell whether the name is only claimed: by credentials that many share, of a CPE that has had its own.

        Nothing of it is believed then, and the CPE that has the name stays as it is: else anybody with the shared
        credentials could put a town into quarantine.
        """
        return self._regressed(before) and not self.called.trust_shared and not self._reset_by_us(tx)

    def _regressed(self, before: Cpe) -> bool:
        return before.own and not self.called.own

    def _reset_by_us(self, tx: Tx) -> bool:
        row = tx.one("SELECT reset_until_s FROM cpe WHERE name = ?", (self.called.name,))
        return row is not None and self.called.resets and row["reset_until_s"] >= self.called.at_s


def forget_all(tx: Tx, names: Sequence[str]) -> None:
    """Delete all that is stored of these CPE."""
    for table in _TABLES:
        tx.many(f"DELETE FROM {table} WHERE name = ?", [(name,) for name in names])  # noqa: S608  a name of `_TABLES`


def forget_secrets(tx: Tx, name: str) -> None:
    """Take note that a CPE's secrets and its user name are unknown now: it was reset."""
    let_go(tx, "name = ?", (name,))
    for table in ("cpe_secret_set", "cpe_pending"):
        tx.run(f"DELETE FROM {table} WHERE name = ?", (name,))  # noqa: S608  a name of the line above
    tx.run("DELETE FROM cpe_value WHERE name = ? AND path LIKE ?", (name, f"%.{USERNAME}"))


def outdate(tx: Tx, name: str) -> None:
    """Take note that a CPE was reset: its known values no longer hold."""
    tx.run("DELETE FROM cpe_read WHERE name = ?", (name,))
    tx.run("UPDATE cpe_value SET before_reset = 1 WHERE name = ?", (name,))


def let_go(tx: Tx, where: str, of: tuple[str, ...]) -> None:
    """Keep secrets that are being replaced for `SECRET_KEEP_S` from now: a change may be taken back until then."""
    query = f"UPDATE cpe_secret SET at_s = ? WHERE commitment IN (SELECT commitment FROM cpe_secret_set WHERE {where})"  # noqa: S608  constants of this file
    tx.run(query, (int(tx.now_s), *of))


def keep_samples(tx: Tx, name: str, found: Mapping[str, CachedParameter]) -> None:
    """Have values join the history of their parameters, as often as `tracked.LEAST_S` allows."""
    for path, known in history.samples(found).items():
        last = tx.one("SELECT max(at_s) AS at_s FROM cpe_sample WHERE name = ? AND path = ?", (name, path))
        if last is not None and last["at_s"] is not None and known.at_s - last["at_s"] < tracked.LEAST_S:
            continue
        tx.run(
            "INSERT INTO cpe_sample (name, path, at_s, value) VALUES (?,?,?,?)", (name, path, known.at_s, known.value)
        )
        tx.run(
            "DELETE FROM cpe_sample WHERE name = ?1 AND path = ?2 AND at_s <= (SELECT at_s FROM cpe_sample"
            " WHERE name = ?1 AND path = ?2 ORDER BY at_s DESC LIMIT 1 OFFSET ?3)",
            (name, path, history.KEPT),
        )


def write_values(tx: Tx, name: str, found: Mapping[str, CachedParameter]) -> None:
    """Keep values; of one that was read before it, the later stands."""
    tx.many(
        "INSERT OR REPLACE INTO cpe_value (name, path, value, type, at_s, before_reset) VALUES (?,?,?,?,?,0)",
        [(name, path, known.value, known.type, known.at_s) for path, known in found.items()],
    )


@dataclass(frozen=True, slots=True)
class CpeLearned:
    """Values were read. `below`: all that there is below this path; `gone`: paths that are not there."""

    name: str
    values: Mapping[str, CachedParameter]
    below: str = ""
    gone: tuple[str, ...] = ()

    def run(self, tx: Tx) -> None:
        if self.below:
            tx.run(
                "INSERT OR REPLACE INTO cpe_read (name, below, at_s) VALUES (?,?,?)",
                (self.name, self.below, int(tx.now_s)),
            )
            tx.run(
                "DELETE FROM cpe_value WHERE name = ? AND path >= ? AND path < ?",
                (self.name, self.below, self.below + _LAST),
            )
        for path in self.gone:
            last = path + _LAST if path.endswith(".") else path
            tx.run("DELETE FROM cpe_value WHERE name = ? AND path >= ? AND path <= ?", (self.name, path, last))
        write_values(tx, self.name, self.values)
        keep_samples(tx, self.name, self.values)


@dataclass(frozen=True, slots=True)
class CpeSetting:
    """Secrets are about to be set; a new password of the CPE's own is taken from now on beside the one before."""

    name: str
    pending: Pending
    user: str

    def run(self, tx: Tx) -> None:
        secrets = json.dumps(dict(self.pending.secrets))
        tx.run(
            "INSERT OR REPLACE INTO cpe_pending (name, key, secrets) VALUES (?,?,?)",
            (self.name, self.pending.key, secrets),
        )
        commits = [c for path, c in self.pending.secrets.items() if path.endswith(PASSWORD)]
        if self.user and commits:
            tx.run(
                "INSERT OR REPLACE INTO cpe_login (user, name, commitment, at_s) VALUES (?,?,?,?)",
                (self.user, self.name, commits[0], int(tx.now_s)),
            )


@dataclass(frozen=True, slots=True)
class CpeSet:
    """Record that a CPE took secrets."""

    name: str
    secrets: Mapping[str, str]

    def run(self, tx: Tx) -> None:
        """End the pending setting as well."""
        rows = [(self.name, path, commit) for path, commit in self.secrets.items()]
        for _, path, _ in rows:
            let_go(tx, "name = ? AND path = ?", (self.name, path))
        tx.many("INSERT OR REPLACE INTO cpe_secret_set (name, path, commitment) VALUES (?,?,?)", rows)
        tx.run("DELETE FROM cpe_pending WHERE name = ?", (self.name,))


@dataclass(frozen=True, slots=True)
class CpeNotSet:
    """Record that a CPE did not take the secrets of a setting, by its ParameterKey."""

    name: str
    key: str

    def run(self, tx: Tx) -> None:
        tx.run("DELETE FROM cpe_pending WHERE name = ? AND key = ?", (self.name, self.key))


@dataclass(frozen=True, slots=True)
class CpeEvidence:
    """A workflow worked with a model, or did not."""

    cpe: Cpe
    workflow: str
    worked: bool
    detail: str

    def run(self, tx: Tx) -> None:
        model = (self.cpe.oui, self.cpe.product_class, self.cpe.software, self.workflow, self.worked)
        tx.run(
            "INSERT INTO cpe_evidence (oui, product_class, software, workflow, worked, times, last_s, detail)"
            " VALUES (?,?,?,?,?,1,?,?) ON CONFLICT DO UPDATE SET times = times + 1,"
            " last_s = excluded.last_s, detail = excluded.detail",
            (*model, int(tx.now_s), self.detail[:200]),
        )


# --- commands: what people decide -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DecideCpe:
    """A person lets a CPE in, refuses or forgets it, or (`unbind`) says that it serves nobody. `trust` None: as it is.

    It takes trust away, or gives as much as needs no second person: the assurance of an approved plan holds only while
    nothing of it changes. `target`: of a CPE that is to be forgotten. With its record go the counts of its boots and
    resets, by which a change that acts on it proves its effect: any count of the next one of its name would do.
    """

    name: str
    trust: Acceptance | None
    why: str
    sealed: Sealed
    unbind: bool = False
    forget: bool = False
    target: str = ""

    def run(self, tx: Tx) -> Cpe | None:
        """Return the CPE then, None when it is forgotten.

        Raises:
            RefusedCommandError: there is no such CPE, or it is to be forgotten and a change acts on it.
        """
        before = find(tx.all, self.name)
        if before is None:
            raise RefusedCommandError(RefusalReason.UNKNOWN_CPE, f"there is no CPE {self.name}: ispagent cpe list")
        if self.forget and self.target:
            try:
                refuse_if_held(tx, b"", [Address(self.target)])
            except RefusedCommandError as err:
                how = f"forget it once that is over; ispagent cpe refuse {self.name} takes it off at once"
                raise RefusedCommandError(RefusalReason.BUSY, f"{self.name} is {err}: {how}") from err
        seq = tx.append(Entry(LeafKind.CPE_DECIDED, sealed=self.sealed))
        if self.forget:
            forget_all(tx, [self.name])
            return None
        if self.trust is Acceptance.ACCEPTED:
            accept(tx, before, seq)
        elif self.trust is not None:
            tx.run("UPDATE cpe SET trust = ?, why = ? WHERE name = ?", (self.trust.value, self.why, self.name))
        if self.unbind:
            tx.run("UPDATE cpe SET service = '' WHERE name = ?", (self.name,))
        was_accepted = before.trust is Acceptance.ACCEPTED and not before.claimed
        as_it_was = self.trust is None or (self.trust is Acceptance.ACCEPTED and was_accepted)
        if not as_it_was or (self.unbind and before.service):
            tx.run("UPDATE cpe SET assured = 0 WHERE name = ?", (self.name,))
        return find(tx.all, self.name)


def accept(tx: Tx, before: Cpe, seq: int) -> None:
    """Accept a CPE by the credentials that it came with. `before`: as it is now; `seq`: the entry in the log of the
    decision.
    """
    tx.run("UPDATE cpe SET trust = ?, why = '' WHERE name = ?", (Acceptance.ACCEPTED.value, before.name))
    if before.claimed:
        forget_secrets(tx, before.name)
        outdate(tx, before.name)  # it was reset, or is another: of that nothing was heard
        tx.run("UPDATE cpe SET own = 0, claimed = 0, resets = resets + 1 WHERE name = ?", (before.name,))
    if before.claimed or before.trust is not Acceptance.ACCEPTED:
        tx.run("UPDATE cpe SET accepted_seq = ? WHERE name = ?", (seq, before.name))


@dataclass(frozen=True, slots=True)
class TagCpe:
    """A person gives tags to a CPE, or takes them away."""

    name: str
    add: tuple[str, ...]
    remove: tuple[str, ...]
    sealed: Sealed

    def run(self, tx: Tx) -> tuple[str, ...]:
        """Return its tags then.

        Raises:
            RefusedCommandError: there is no such CPE, or it would have too many tags.
        """
        if find(tx.all, self.name) is None:
            raise RefusedCommandError(RefusalReason.UNKNOWN_CPE, f"there is no CPE {self.name}: ispagent cpe list")
        tx.many("DELETE FROM cpe_tag WHERE name = ? AND tag = ?", [(self.name, tag) for tag in self.remove])
        tx.many("INSERT OR IGNORE INTO cpe_tag (name, tag) VALUES (?,?)", [(self.name, tag) for tag in self.add])
        rows = tx.all("SELECT tag FROM cpe_tag WHERE name = ? ORDER BY tag", (self.name,))
        if len(rows) > TAGS_MAX:
            raise RefusedCommandError(
                RefusalReason.TOO_MANY_TAGS, f"expected at most {TAGS_MAX} tags of {self.name}, got {len(rows)}"
            )
        tx.append(Entry(LeafKind.CPE_DECIDED, sealed=self.sealed))
        return tuple(r["tag"] for r in rows)


@dataclass(frozen=True, slots=True)
class ExpectReset:
    """A factory reset was asked for: the CPE may come with shared credentials until then (unix seconds)."""

    name: str
    until_s: int

    def run(self, tx: Tx) -> None:
        tx.run("UPDATE cpe SET reset_until_s = ? WHERE name = ?", (self.until_s, self.name))


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A CPE has its baseline, as of so many resets."""

    name: str
    resets: int

    def run(self, tx: Tx) -> None:
        tx.run("UPDATE cpe SET provisioned = max(provisioned, ?) WHERE name = ?", (self.resets, self.name))


@dataclass(frozen=True, slots=True)
class PutCpeSecrets:
    """Keep secrets that a change is to set: (commitment, sealed). An entry that nobody took in a long time goes."""

    secrets: tuple[tuple[str, bytes], ...]

    def run(self, tx: Tx) -> None:
        tx.run(
            "DELETE FROM cpe_secret WHERE at_s < ? AND commitment NOT IN (SELECT commitment FROM cpe_secret_set)"
            " AND commitment NOT IN (SELECT commitment FROM cpe_login)",
            (int(tx.now_s) - SECRET_KEEP_S,),
        )
        tx.many(
            "INSERT OR REPLACE INTO cpe_secret (commitment, sealed, at_s) VALUES (?,?,?)",
            [(c, s, int(tx.now_s)) for c, s in self.secrets],
        )


@dataclass(frozen=True, slots=True)
class KeepBreaker:
    """Keep the state of a CPE's circuit breaker. `sealed`: a person cleared it, and the log says so."""

    name: str
    rows: tuple[BreakerRow, ...]
    sealed: Sealed | None = None

    def run(self, tx: Tx) -> None:
        if self.sealed is not None:
            tx.append(Entry(LeafKind.CPE_DECIDED, sealed=self.sealed))
        tx.run("INSERT OR REPLACE INTO cpe_breaker (name, rows) VALUES (?,?)", (self.name, json.dumps(self.rows)))


OfFields = Callable[[Cpe, Mapping[str, CachedParameter]], Mapping[str, CachedParameter]]
"""Returns the values of the fields that a query names, from all values of a CPE."""


def _known_after(
    reader: sqlite3.Connection, name: str, count: int, of_fields: OfFields | None, *, macs: bool
) -> list[KnownCpe]:
    """Return the next CPE by name, with the values that queries need of them."""
    rows = reader.execute(
        "SELECT cpe.*, coalesce(s.login, '') AS login,"
        " (SELECT json_group_array(tag) FROM cpe_tag t WHERE t.name = cpe.name) AS tags"
        " FROM cpe LEFT JOIN service s ON s.ref = cpe.service WHERE cpe.name > ? ORDER BY cpe.name LIMIT ?",
        (name, count),
    ).fetchall()
    found = []
    for row in rows:
        cpe = _cpe(row)
        needed = macs or of_fields is not None
        read = values(lambda sql, args: reader.execute(sql, args).fetchall(), cpe.name) if needed else {}
        own = [known.value for path, known in read.items() if macs and known.value is not None and is_own_mac(path)]
        found.append(
            KnownCpe(cpe, row["login"], json.loads(row["tags"]), of_fields(cpe, read) if of_fields else {}, own)
        )
    return found


# --- the book ---------------------------------------------------------------------------------------------------------


class CpeStore:
    """Implements `CpeBook` over the store."""

    def __init__(self, store: Store, vault: Vault) -> None:
        """Use a store that is open, and the vault that seals its secrets."""
        self._store, self._vault = store, vault
        self._told: dict[tuple[str, str, str, str, bool], float] = {}
        self._recent: dict[tuple[str, str, str, bool], float] = {}
        self._software: dict[str, str] = {}
        self._now_s = 0.0
        self.reset_bell = Notifier()
        """Rung when a CPE is due to be given its baseline."""
        self.rings_for: Callable[[Cpe], bool] = lambda _: True
        """Whether anything is to be given to such a CPE."""

    def find(self, name: str) -> Cpe | None:
        """Return a CPE by its name."""
        return find(self._store.query, name)

    def all(self) -> list[Cpe]:
        """Return every CPE, by name."""
        return [_cpe(row) for row in self._store.query("SELECT * FROM cpe ORDER BY name")]

    def accepted_addresses(self, most: int) -> Sequence[str]:
        """Return where accepted CPE called from last, of so many of them, the latest last."""
        rows = self._store.query(
            "SELECT address FROM cpe WHERE trust = ? ORDER BY last_s DESC LIMIT ?", (Acceptance.ACCEPTED.value, most)
        )
        return [str(row["address"]) for row in reversed(rows) if row["address"]]

    def counts(self) -> Mapping[Acceptance, int]:
        """Return how many CPE there are of each trust."""
        rows = self._store.query("SELECT trust, count(*) AS n FROM cpe GROUP BY trust")
        return {members(Acceptance, "cpe")[r["trust"]]: int(r["n"]) for r in rows}

    def serving(self) -> Mapping[str, Sequence[str]]:
        """Return the names of the CPE that are bound to each service, by its ref."""
        found: dict[str, list[str]] = {}
        for row in self._store.query("SELECT name, service FROM cpe WHERE service <> '' ORDER BY name"):
            found.setdefault(row["service"], []).append(row["name"])
        return found

    def count_without_secrets(self) -> int:
        """Return how many accepted CPE get no secret, as `Cpe.takes_secrets` says."""
        query = "SELECT count(*) AS n FROM cpe WHERE trust = ? AND assured = 0 AND NOT (certified = 1 AND service = '')"
        return int(self._store.query(query, (Acceptance.ACCEPTED.value,))[0]["n"])

    def named(self, ref: str) -> list[Cpe]:
        """Return the CPE that a reference names, by the first of these that one has.

        Its name; the service or the subscriber that it serves; the login of the service; its serial number.
        """
        if (exact := self.find(ref)) is not None:
            return [exact]
        at = "SELECT * FROM cpe WHERE service <> '' AND "
        served = self._store.query(
            f"{at}(service = ? OR service >= ? AND service < ?) ORDER BY name", (ref, f"{ref}/", f"{ref}/{_LAST}")
        )
        if not served:
            refs = json.dumps([service.ref for service in finding.of_login(self._store, ref)] if ref else [])
            served = self._store.query(f"{at}service IN (SELECT value FROM json_each(?)) ORDER BY name", (refs,))  # noqa: S608  as above
        rows = served or self._store.query("SELECT * FROM cpe WHERE serial = ? AND serial <> '' ORDER BY name", (ref,))
        return [_cpe(row) for row in rows]

    def samples(self, name: str, path: str) -> list[tuple[int, str]]:
        """Return the history of a parameter, (unix seconds, value), the oldest first."""
        rows = self._store.query(
            "SELECT at_s, value FROM cpe_sample WHERE name = ? AND path = ? ORDER BY at_s", (name, path)
        )
        return [(r["at_s"], r["value"]) for r in rows]

    def sampled(self, name: str) -> list[str]:
        """Return the paths of the parameters of a CPE that have a history."""
        rows = self._store.query("SELECT DISTINCT path FROM cpe_sample WHERE name = ? ORDER BY path", (name,))
        return [r["path"] for r in rows]

    def tags(self, name: str) -> tuple[str, ...]:
        """Return the tags of a CPE."""
        return tuple(
            r["tag"] for r in self._store.query("SELECT tag FROM cpe_tag WHERE name = ? ORDER BY tag", (name,))
        )

    async def known_after(self, name: str, count: int, of_fields: OfFields | None, *, macs: bool) -> list[KnownCpe]:
        """Return the next CPE by name as queries see them, read in a thread.

        Args:
            name: the one before the first; "": from the beginning.
            count: how many at most.
            of_fields: of a CPE and its values, those of the fields that a query names; called in the thread. None: the
                query names none.
            macs: whether the query needs their MAC addresses.
        """
        return await self._store.aside(lambda reader: _known_after(reader, name, count, of_fields, macs=macs))

    def of_service(self, ref: str) -> list[Cpe]:
        """Return the CPE that are bound to a service."""
        return [_cpe(row) for row in self._store.query("SELECT * FROM cpe WHERE service = ? ORDER BY name", (ref,))]

    def values(self, name: str, paths: Sequence[str] | None = None) -> Mapping[str, CachedParameter]:
        """Return the known values of a CPE's parameters."""
        return values(self._store.query, name, paths)

    def _login(self, user: str) -> sqlite3.Row | None:
        rows = self._store.query("SELECT name, commitment FROM cpe_login WHERE user = ?", (user,))
        return rows[0] if rows else None

    def below(self, name: str, path: str) -> Mapping[str, CachedParameter]:
        """Return the known values of a CPE's parameters with paths that begin so."""
        query = "SELECT * FROM cpe_value WHERE name = ? AND path >= ? AND path < ? ORDER BY path"
        rows = self._store.query(query, (name, path, path + _LAST))
        return {r["path"]: _known(r) for r in rows}

    def read_whole_s(self, name: str, path: str) -> int:
        """Return when all that a CPE has below a path was read last, unix seconds; 0: never since it was reset."""
        query = "SELECT max(at_s) AS at_s FROM cpe_read WHERE name = ? AND substr(?, 1, length(below)) = below"
        return int(self._store.query(query, (name, path))[0]["at_s"] or 0)

    def own_password(self, user: str) -> str | None:
        """Return the password of a user that is one CPE's own."""
        row = self._login(user)
        return None if row is None else self.secret(row["commitment"])

    def owner(self, user: str) -> str | None:
        """Return the CPE that has this user as its own."""
        row = self._login(user)
        return None if row is None else row["name"]

    def request_owner(self, user: str) -> str | None:
        """Return which CPE's user of connection requests it is: they are called as their CPE is."""
        return user if self.find(user) is not None else None

    def request_credentials(self, name: str) -> Credentials | None:
        """Return the credentials for connection requests that the CPE was given; None: it was given none."""
        cpe = self.find(name)
        if cpe is None:
            return None
        commit = self.secrets_set(name).get(cpe.root + REQUEST_PASSWORD)
        password = None if commit is None else self.secret(commit)
        known = self.values(name, [cpe.root + REQUEST_USERNAME]).get(cpe.root + REQUEST_USERNAME)
        if password is None or known is None or not known.value:
            return None
        try:
            return Credentials(known.value, password)
        except BadCredentialsError:  # the CPE tells a user that no header can hold: its word must stop nobody else
            return None

    async def called(self, called: Called) -> Cpe:
        """Take note that a CPE calls in, durably."""
        self._now_s = called.at_s
        cpe = await self._store.run(CpeCalled(called))
        self._software[cpe.name] = cpe.software
        if len(self._software) > 10 * EVIDENCE_MEMO:
            del self._software[next(iter(self._software))]
        if cpe.trust is Acceptance.ACCEPTED and cpe.resets > cpe.provisioned and self.rings_for(cpe):
            self.reset_bell.ring()
        return cpe

    async def learned(self, name: str, values: Mapping[str, CachedParameter], *, below: str = "") -> None:
        """Take note of values read of a CPE."""
        await self._store.run(CpeLearned(name, values, below))

    async def forget(self, name: str, path: str) -> None:
        """Take note that nothing is at or below a path any more."""
        await self._store.run(CpeLearned(name, {}, gone=(path,)))

    def secret(self, commit: str) -> str | None:
        """Return a secret by its commitment."""
        rows = self._store.query("SELECT sealed FROM cpe_secret WHERE commitment = ?", (commit,))
        return self._vault.open(bytes(rows[0]["sealed"])).decode() if rows else None

    async def keep_secrets(self, found: Mapping[str, str]) -> None:
        """Keep secrets, commitment -> text, sealed."""
        rows = tuple((commit, self._vault.seal(text.encode())) for commit, text in found.items())
        await self._store.run(PutCpeSecrets(rows))

    async def setting(self, name: str, pending: Pending, user: str = "") -> None:
        """Take note, durably, that secrets are about to be set."""
        await self._store.run(CpeSetting(name, pending, user))

    async def was_set(self, name: str, secrets: Mapping[str, str]) -> None:
        """Take note that a CPE took secrets."""
        await self._store.run(CpeSet(name, secrets))

    async def was_not_set(self, name: str, key: str) -> None:
        """Take note that a CPE did not take the secrets that were set under a ParameterKey."""
        await self._store.run(CpeNotSet(name, key))

    def secrets_set(self, name: str) -> Mapping[str, str]:
        """Return the commitment of each secret that a CPE took last, by path."""
        rows = self._store.query("SELECT path, commitment FROM cpe_secret_set WHERE name = ?", (name,))
        return {r["path"]: r["commitment"] for r in rows}

    def pending(self, name: str) -> Sequence[Pending]:
        """Return the settings that were about to be set, and are not known to have been taken."""
        rows = self._store.query("SELECT key, secrets FROM cpe_pending WHERE name = ?", (name,))
        return [_pending(r) for r in rows]

    def due(self) -> list[Cpe]:
        """Return the CPE that are accepted and new, or were reset since they had their baseline."""
        query = "SELECT * FROM cpe WHERE trust = ? AND resets > provisioned ORDER BY last_s DESC"
        return [_cpe(row) for row in self._store.query(query, (Acceptance.ACCEPTED.value,))]

    async def provisioned(self, name: str, resets: int) -> None:
        """Take note that a CPE has its baseline, as of so many resets."""
        await self._store.run(Provisioned(name, resets))

    async def expect_reset(self, name: str, until_s: int) -> None:
        """Take note that a CPE is being reset by us."""
        await self._store.run(ExpectReset(name, until_s))

    async def evidence(self, name: str, workflow: str, worked: bool, detail: str, software: str | None = None) -> None:
        """Take note that a workflow worked with a CPE's model, or did not; of the same again, once in a while."""
        # Two memories: by CPE, which spares a look-up of it in each session; and by model, since many CPE tell the same
        said = (name, self._software.get(name, "") if software is None else software, workflow, worked)
        if self._recent.get(said, float("-inf")) + EVIDENCE_S > self._now_s:
            return
        self._recent[said] = self._now_s
        if len(self._recent) > 4 * EVIDENCE_MEMO:
            del self._recent[next(iter(self._recent))]
        cpe = self.find(name)
        if cpe is None:
            return
        if software is not None:
            cpe = replace(cpe, software=software)
        key = (cpe.oui, cpe.product_class, cpe.software, workflow, worked)
        if self._told.get(key, float("-inf")) + EVIDENCE_S > cpe.last_s:
            return
        self._told[key] = cpe.last_s
        if len(self._told) > EVIDENCE_MEMO:
            del self._told[next(iter(self._told))]
        await self._store.run(CpeEvidence(cpe, workflow, worked, detail))

    def breaker(self, name: str) -> Sequence[BreakerRow]:
        """Return the state of a CPE's breaker."""
        rows = self._store.query("SELECT rows FROM cpe_breaker WHERE name = ?", (name,))
        return _breaker_rows(rows[0]) if rows else []

    async def keep_breaker(self, name: str, rows: Sequence[BreakerRow]) -> None:
        """Keep the state of a CPE's breaker."""
        await self._store.run(KeepBreaker(name, tuple(rows)))

    def evidence_rows(self) -> list[sqlite3.Row]:
        """Return all evidence, one row a model, workflow and outcome."""
        return self._store.query("SELECT * FROM cpe_evidence ORDER BY oui, product_class, software, workflow")
