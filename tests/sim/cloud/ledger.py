"""What passed between members and the control plane, as the wire saw it: nobody's own word.

It opens what anybody can open who carries it, by `trust` alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from protos import message_pb2 as pb
from tests.sim.cloud.wire import Passed
from trust import envelope as envelopes
from trust import statements
from trust.errors import TrustError
from trust.statements import Plan, Receipt

AGENT: Final = "agent"


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that a member was told is taken, at `at`; asked at `asked_at`."""

    at: float
    asked_at: float
    who: str
    message: pb.Message


@dataclass
class Ledger:
    """All of it. `trace`: told of messages.

    `asked`: requests that reached the server, by their call; `taken`: what members were told is taken; `delivered`:
    when the agent's program read a message, by its body; `reached`: bytes that the control plane got, each once.
    """

    trace: Callable[[str], None] = lambda text: None
    asked: dict[int, Passed] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    delivered: dict[bytes, list[float]] = field(default_factory=lambda: defaultdict(list))
    receipts: dict[str, list[tuple[float, Receipt]]] = field(default_factory=lambda: defaultdict(list))
    """Of statements by their digest, when the control plane had taken them."""
    plans: dict[str, tuple[float, Plan]] = field(default_factory=dict)
    """By plan, when the control plane had first taken them."""
    reached: dict[bytes, str] = field(default_factory=dict)
    submitted: dict[str, list[pb.Message]] = field(default_factory=lambda: defaultdict(list))
    """What reached the control plane of each member, taken or not."""

    def on_passed(self, passed: Passed) -> None:
        """Take note of a message that arrived."""
        method = passed.method.rpartition("/")[2]
        if passed.to_server:
            self.asked[passed.call] = passed
            self.reached.setdefault(passed.data, f"{method} of {passed.who}")
            if method == "Submit":
                self.submitted[passed.who].append(pb.SubmitRequest.FromString(passed.data).message)
        elif method == "Submit":
            self._taken(passed)
        elif method == "Watch" and passed.who == AGENT:
            event = pb.WatchEvent.FromString(passed.data)
            if event.HasField("delivery"):
                message = event.delivery.message
                self.delivered[message.body].append(passed.at)
                self.trace(f"cloud: delivered {word(message.kind)} {event.delivery.number}")

    def _taken(self, passed: Passed) -> None:
        asked = self.asked[passed.call]
        message = pb.SubmitRequest.FromString(asked.data).message
        self.taken.append(Taken(passed.at, asked.at, passed.who, message))
        said = ""
        if passed.who == AGENT and message.kind in (pb.KIND_RECEIPT, pb.KIND_PLAN):
            said = self._of_agent(passed.at, message)
        self.trace(f"cloud: took {word(message.kind)} of {passed.who} {said}")

    def _of_agent(self, at: float, message: pb.Message) -> str:
        try:
            envelope = envelopes.decode_untrusted(message.body)
            if message.kind == pb.KIND_PLAN:
                plan = statements.decode_as_untrusted(Plan, envelope)
                self.plans.setdefault(plan.plan_id, (at, plan))
                return plan.plan_id[:6]
            receipt = statements.decode_as_untrusted(Receipt, envelope)
        except TrustError:
            return "unreadable"
        self.receipts[receipt.of_sha256].append((at, receipt))
        return f"{receipt.of_sha256[:6]} {receipt.result.value} {receipt.reason.value if receipt.reason else ''}"


def word(kind: int) -> str:
    """Return a kind's word."""
    return pb.Kind.Name(kind).removeprefix("KIND_").lower()
