"""Checks that the rows beside the log agree with it: plans and their items, approvals, states, verdicts.

A leaf commits to its own record and to its plan's digest, and to nothing else of the database. A flipped page may hit
an item or an approval and leave every leaf whole; so they are compared here with the signed documents, and with the
leaves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from agent.changes.journal import plans
from agent.changes.journal.commands import PlanRow, read_plan_row
from agent.store.db import refuse_damage
from agent.store.errors import DamagedValueError, LogCorruptError, MissingKeyError
from agent.store.vault import Vault
from trust import envelope as envelopes
from trust import statements
from trust.errors import TrustError
from trust.items import open_items_untrusted
from trust.leaf import ITEM_STATE_CODES, VERDICT_CODES, LeafKind
from trust.statements import Approval


def check_stored(reader: sqlite3.Connection, vault: Vault) -> None:
    """Compare every plan, item, approval and step with its signed document and its leaf. Safe to run in a thread.

    The items of an erased subscriber cannot be read: of such a plan only the envelope is compared.

    Raises:
        LogCorruptError: something does not add up; the message names it.
    """
    try:
        refuse_damage(reader)
        for row in map(_plan_row, reader.execute("SELECT * FROM plan")):
            _check_plan(reader, vault, row)
            _check_approvals(reader, row)
        _check_codes(reader)
    except sqlite3.DatabaseError as err:
        raise LogCorruptError(f"agent.db is damaged: {err}") from err


def _plan_row(row: sqlite3.Row) -> PlanRow:
    try:
        return read_plan_row(row)
    except DamagedValueError as err:
        raise LogCorruptError(f"change {row['short']}: its row cannot be read: {err}") from err


def _check_plan(reader: sqlite3.Connection, vault: Vault, row: PlanRow) -> None:
    """Compare a plan's envelope with the digest of its leaves, and its documents with the root that was signed."""
    try:
        digest = envelopes.digest(envelopes.decode_untrusted(row.envelope))
    except TrustError as err:
        raise LogCorruptError(f"change {row.short}: the stored envelope is no plan: {err}") from err
    if digest != row.digest:
        raise LogCorruptError(f"change {row.short}: its plan is not the one that its leaves name")
    plan, documents = plans.signed(row), [row.head]
    for doc in _documents(reader, vault, row):
        if doc is None:
            return
        documents.append(doc)
    try:
        open_items_untrusted(documents, bytes.fromhex(plan.items_root), plan.plan_id)
    except TrustError as err:
        raise LogCorruptError(f"change {row.short}: its items are not those that were signed: {err}") from err


def _documents(reader: sqlite3.Connection, vault: Vault, row: PlanRow) -> Iterator[bytes | None]:
    items = reader.execute("SELECT n, subject, doc FROM item WHERE plan_id = ? ORDER BY n", (row.plan_id,))
    for n, subject, doc in items:
        try:
            opened = vault.open_record(bytes(subject), bytes(doc))
        except MissingKeyError as err:
            raise LogCorruptError(f"change {row.short}: item {n}: {err}") from err
        yield None if opened is None else opened[1]


def _check_approvals(reader: sqlite3.Connection, row: PlanRow) -> None:
    """Compare the rows of approvals with the signed statements in them."""
    for r in reader.execute("SELECT * FROM approval WHERE plan_id = ?", (row.plan_id,)):
        try:
            said = statements.decode_as_untrusted(Approval, envelopes.decode_untrusted(bytes(r["envelope"])))
        except TrustError as err:
            raise LogCorruptError(f"change {row.short}: an approval of {r['person']} is malformed: {err}") from err
        if (said.person, said.decision.value) != (r["person"], r["decision"]) or row.digest.hex() not in said.plans:
            raise LogCorruptError(f"change {row.short}: an approval's row is not what {r['person']} signed")


def _check_codes(reader: sqlite3.Connection) -> None:
    """Compare the states of items and the verdicts of steps with the codes of their leaves."""
    states = reader.execute(
        "SELECT p.short, i.n, i.state, e.code FROM item i JOIN plan p USING (plan_id)"
        " JOIN event e ON e.seq = i.state_seq WHERE e.kind IN (?, ?) AND e.plan = i.plan_id AND e.item = i.n",
        (LeafKind.ITEM_STATE.value, LeafKind.ABOUT_TO.value),
    )
    for short, n, state, code in states:
        if ITEM_STATE_CODES.get(state) != code:
            raise LogCorruptError(f"change {short}: item {n} is said to be {state}, and its leaf says otherwise")
    verdicts = reader.execute(
        "SELECT p.short, s.item, s.n, s.verdict, e.code FROM step s JOIN event e ON e.seq = s.outcome_seq"
        " JOIN plan p USING (plan_id) WHERE e.kind = ?",
        (LeafKind.STEP_OUTCOME.value,),
    )
    for short, item, n, verdict, code in verdicts:
        if VERDICT_CODES.get(verdict) != code:
            raise LogCorruptError(
                f"change {short}: step {item}.{n} is said to be {verdict}, and its leaf says otherwise"
            )
