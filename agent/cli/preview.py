"""A change as its plan says it, out of the bytes that the agent signed: a person approves this, and nothing else."""

from __future__ import annotations

import sys
from typing import cast

from agent.cli import client
from agent.cli.client import Json, fail, say, unb64
from agent.cli.outcome import items_text, outcome_text
from trust import envelope as envelopes
from trust import render, statements
from trust.errors import TrustError
from trust.items import Items, open_items_untrusted
from trust.statements import Plan


def print_preview(change: Json, *, listing: bool) -> None:
    """Print a change that has a plan: its preview and its result; with `listing` each of its items too."""
    items: Items | None = None
    try:
        envelope = envelopes.decode_untrusted(unb64(change["plan"]))
        plan = statements.decode_as_untrusted(Plan, envelope)
        documents = [str(d).encode() for d in cast("list[str]", change["documents"])]
        if not change["not_shown"]:
            items = open_items_untrusted(documents, bytes.fromhex(plan.items_root), plan.plan_id)
    except TrustError as err:
        fail(f"the agent's answer does not verify: {err}", client.FAILED)
    if items is None:
        say(f"{change['id']}: the preview cannot be shown: {change['not_shown']}")
    else:
        say(render.render_preview(plan, items, str(change["id"]), client.here(sys.stdout).width).rstrip("\n"))
    if listing and items is not None and change["gate"] in ("open", "approved"):
        say(render.render_list(items).rstrip("\n"))
    elif listing:  # it began, or it never will: each item's result, no promise
        say(items_text(change))
    text = outcome_text(change)
    if text:
        say(f"\n{text}")
