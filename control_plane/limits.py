"""Every limit of the control plane, each with its reason or "chosen arbitrarily".

Sizes are of encoded bytes. The share of one operator or person is in `Quota`: `config.toml` may set others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ENROLMENT_BYTES: Final = 32 << 10
"""One message to the port that strangers reach: a token, a request of 2 KiB, a statement of 1 KiB."""

LINKS_MAX: Final = 8
"""Trust documents that one message carries: two years of one version each quarter."""

TRUST_BYTES: Final = 1 << 20
"""A trust document in its envelope: 512 people with two keys each are some 250 KiB, in base64 330 KiB."""

CARRIED_BYTES: Final = 3 << 20
"""Body and links of one message together; leaves room for framing under the protocol's MESSAGE_BYTES."""

PLAN_BYTES: Final = 8 << 10
"""A plan is some 1.3 KiB in its envelope. Chosen arbitrarily, as are the next five."""

RECEIPT_BYTES: Final = 4 << 10
OUTCOME_BYTES: Final = 4 << 10
SEALKEY_BYTES: Final = 2 << 10
FREEZE_BYTES: Final = 4 << 10
UNFREEZE_BYTES: Final = 8 << 10

APPROVAL_BYTES: Final = 128 << 10
"""64 plans and the log heads of 512 agents, in base64: 100 KiB."""

CANCEL_BYTES: Final = 16 << 10
PAUSE_BYTES: Final = 4 << 10
"""64 plans in base64: 6 KiB."""

STANDING_BYTES: Final = 64 << 10
"""A scope of 512 agents in base64: 24 KiB."""

INTENT_BYTES: Final = (1 << 20) + 4096
"""A sealed intent: an envelope of 10,000 references, padded to a power of two, and the overhead of sealing."""

VIEW_BYTES: Final = 128 << 10
"""As an approval: it names the log heads that the viewer has seen."""

CHECKPOINT_BYTES: Final = 128 << 10
"""A note (at most 64 KiB) and 63 hashes."""

COSIGNATURE_BYTES: Final = 4 << 10
"""Lines of a note's signatures: some 150 bytes each."""

PAGE_BYTES: Final = (1 << 20) + 4096
"""A page of a view is at most 1 MiB, and the overhead of sealing."""

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S

REF_KEEP_S: Final = 7 * DAY_S
"""A ref is remembered this long at least: an agent that was cut off for a week sends the head of its outbox again."""

REF_LIVES: Final = 7
"""But no longer than so many lives of its message: of checkpoints, one a minute, nobody wants the last week's."""

READ_MESSAGES: Final = 100
READ_BYTES: Final = 1 << 20
"""The most that one reader takes out of the database at a time, in messages and bytes: a slow stream holds no more."""

BOARD_STATEMENTS: Final = 100
"""The most that an agent reads back of its own receipts and outcomes: 400 KiB. Agents read no longer answer."""

SCAN_MESSAGES: Final = 5000
"""Messages that are looked at for some kinds among them, at a time: takes some 5 ms, in which nobody else is served."""

LIVE_MAX: Final = 8
"""Views that wait for one agent's stream to take them. An agent answers them one by one. Chosen arbitrarily."""

PAGES_MAX: Final = 4
"""Pages of a view that wait for a slow desk, 1 MiB each."""

VIEW_PAGES_TOTAL: Final = 512
"""Pages of one view: as many as `trust.seal` makes of the largest; a plan of 100,000 items has some 256."""

VIEWS_PER_PERSON: Final = 4
"""Views that one person has open. Chosen arbitrarily."""

STREAMS_PER_PEER: Final = 8
"""Streams that one person or service keeps open: desks, a watch, a notifier. An agent has one."""

CERTIFICATES_PER_MEMBER: Final = 64
"""Certificates in date that one member has: each is a row to look at. It needs two in its week. Chosen arbitrarily."""

VIEW_S: Final = 120.0
"""How long a view lasts: an agent reads a hundred thousand items in some 20 s."""

PAGE_WAIT_S: Final = 5.0
"""How long a page waits for a desk that does not read, while the agent's outbox waits behind it."""

UNARY_S: Final = 20.0
"""How long one call may take here: a commit takes milliseconds, and a client's own deadline is shorter."""

WATCH_S: Final = 3600.0
"""How long a stream lasts, more or less a quarter: then the client calls again and is identified again."""

REVOKED_EVERY_S: Final = 1.0
"""How often streams ask whether their peers are still welcome."""

HEALTH_EVERY_S: Final = 5.0
"""How often the store's writer is asked for the health service. Chosen arbitrarily, below any checker's interval."""

WRITER_ANSWERS_S: Final = 10.0
"""A writer that takes longer counts as stuck: a commit takes milliseconds, a lock of another program at most 5 s."""

FORGET_EVERY_S: Final = 30.0
FORGET_MAX: Final = 500
"""Expired messages are deleted this often, so many to a transaction: each fits between two commits."""

DRAIN_RETRY_S: Final = 5
"""When clients should come back to a server that goes away."""


CALL_BYTES: Final = 16 << 10
"""Bytes of statements that count as one call more: reading them takes some 5 ms, and one at a time is read."""

STOPS_BYTES: Final = 16 << 20
"""Room for cancels and freezes beyond every quota: a thousand of the largest. Chosen arbitrarily."""

BURST: Final = 2
"""Minutes of silence that a peer may make up for at once: an outbox after an outage."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The share of one operator, and of one of its members (agent, person, service); `[quotas]` in `config.toml`."""

    operator_messages_per_minute: int = 6000
    """Ten busy members. Chosen arbitrarily."""

    member_messages_per_minute: int = 600
    """Calls of any kind: an agent that works off a backlog of receipts sends some hundred."""

    operator_stored_bytes: int = 1 << 30
    """The most that is kept at a time. Chosen so that fifty operators fit a small disk."""

    member_stored_bytes: int = 256 << 20
    """One member cannot take its operator's whole room."""
