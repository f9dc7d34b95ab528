"""The page of reason codes, from the code: `python -m tests.repo.reasons_page` writes docs/reasons.md."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import agent
from agent import reasons
from agent.reasons import ExplainedReason
from tests.repo import tree
from trust.errors import Reason as Refusal

REASONS_MD = tree.ROOT / "docs" / "reasons.md"
PREFACE = """\
# Reason codes

Written from the code by `python -m tests.repo.reasons_page`; a test compares. A code stands in journals, events, API
answers and `--json` output, and stays the same; the text beside it is for people and may change. A code that ends
with `-N` below carries the peer's own number or word, or another code: `nak-503`, `fault-9005`,
`revert-not-on-the-line`.
"""
NUMBERED = (
    reasons.TargetReason.NAK,
    reasons.TargetReason.FAULT,
    reasons.TargetReason.LOST,
    reasons.ItemReason.REVERT,
)


def layers() -> Iterator[type[ExplainedReason | Refusal]]:
    """Yield every enum of reasons: those of refused statements, the agent's common ones, those of single folders."""
    yield Refusal
    for found in pkgutil.walk_packages(agent.__path__, "agent."):
        if found.name.rpartition(".")[2] == "reasons":
            importlib.import_module(found.name)
    yield from sorted(ExplainedReason.__subclasses__(), key=_place)


def _place(layer: type[ExplainedReason]) -> tuple[bool, str]:
    return layer.__module__ != reasons.__name__, layer.__module__


def render() -> str:
    """Return the page."""
    parts = [PREFACE]
    for layer in layers():
        parts.append(f"## {(layer.__doc__ or '').partition('.')[0]}\n\n`{layer.__module__}` `{layer.__name__}`\n")
        rows = ["| code | meaning | what to do |", "|---|---|---|"]
        for reason in layer:
            code = f"{reason.value}-N" if any(reason is one for one in NUMBERED) else reason.value
            rows.append(f"| `{code}` | {reason.meaning} | {reason.remedy or '–'} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    REASONS_MD.write_text(render(), encoding="utf-8")
