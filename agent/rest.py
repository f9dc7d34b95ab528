"""How what a change did not do is asked for again, and the actions of which `ispagent change again` can do that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

HAVE_A_REST: Final = frozenset({"suspend", "restore", "set-plan", "disconnect", "port-set", "port-power-cycle"})
"""Values of `trust.policy.Action`, as words: the CLI would wait for all of `trust` to say its first line otherwise.

The other actions carry settings of their own (a login, a garden, values of a CPE) that the rest of a change does not
have: each is asked for by its own verb.
"""


def anew(action: str, refs: Sequence[str]) -> str:
    """Return the command that asks for an action of services anew, where neither its rest nor a retry of it does."""
    return f"ispagent change {action} {' '.join(refs)}"
