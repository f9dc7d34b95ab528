"""Guards: a device that takes writes back by itself when they are not confirmed.

No connector can do it yet. A step that asks for it is refused before anything of its item is sent: its approvers relied
on the guard, and a write without one could lose the device.
"""

from __future__ import annotations

from agent.model import GuardKind, Item


def refusal(item: Item) -> str:
    """Return why an item cannot run as its steps say, or an empty string."""
    for step in item.steps:
        if step.guard is not GuardKind.NONE:
            return (
                f"step {step.n} on {step.target} asks for {step.guard.value}, which no connector of this agent can do"
            )
    return ""
