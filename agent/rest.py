"""The actions that `ispagent change again` can ask for again, for the items of a change that were not done."""

from __future__ import annotations

from typing import Final

HAVE_A_REST: Final = frozenset({"suspend", "restore", "set-plan", "disconnect", "port-set", "port-power-cycle"})
"""Values of `trust.policy.Action`, as words: the CLI would wait for all of `trust` to say its first line otherwise.

The other actions carry settings of their own (a login, a garden, values of a CPE) that the rest of a change does not
have: each is asked for by its own verb.
"""
