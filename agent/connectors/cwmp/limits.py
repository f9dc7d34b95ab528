"""Every limit of CWMP, each with its reason or "chosen arbitrarily".

A CPE is in the customer's house: what it sends must not be able to fill the agent's memory or hold its processor.
"""

from __future__ import annotations

from typing import Final

# --- XML that comes in ---

BODY_BYTES: Final = 16 << 20
"""One envelope. The largest recorded has 587 kB for 3,263 names; TR-069 section 3.5 sets no maximum for an answer."""

ELEMENTS: Final = 200_000
"""Elements of one envelope: 66,000 parameters with their values, seven times a tree of 9,000. About half a second."""

DEPTH: Final = 32
"""Elements inside each other. The schema needs 8: an access list's string in SetParameterAttributes."""

ATTRIBUTES: Final = 32
"""Attributes of one element, namespace declarations among them. The most that is recorded is 6."""

PREFIXES: Final = 64
"""Namespace prefixes that hold at one place. Recorded envelopes have 5."""

NAME_CHARS: Final = 256
"""An element's or attribute's name. The schema's longest has 39."""

TEXT_CHARS: Final = 4 << 20
"""Text of one element. The longest values are vendors' configuration in base64; chosen arbitrarily."""

SHOWN_CHARS: Final = 60
"""A name that came, in an error."""

NUMBER_CHARS: Final = 20
"""Digits of a number, sign included: an unsignedLong has 20."""

ID_CHARS: Final = 1024
"""The envelope's ID, which we repeat. TR-069 gives no maximum; recorded ones have up to 36."""

VERSIONS_CHARS: Final = 256
"""The list of versions in a header. Chosen arbitrarily."""

# --- sessions ---

TIMEOUT_S: Final = 60.0
"""Silence after which a session is over: twice the 30 seconds that TR-069 has a CPE wait at least."""

TIMEOUT_MOST_S: Final = 600.0
"""The longest silence that a CPE may ask for by its SessionTimeout header. Chosen arbitrarily."""

POSTS: Final = 20_000
"""POSTs of one session: ends one that never does. A request for each object of a large tree makes fewer."""

STRIKES: Final = 3
"""Requests in a row that were answered by a fault because they could not be read; then the session ends."""

REPEATS: Final = 5
"""The same POST in a row that is given the same answer; then the session ends. Chosen arbitrarily."""

QUEUE: Final = 1000
"""Requests that wait to be sent in one session. Chosen arbitrarily."""

# --- HTTP authentication ---

HEADER_CHARS: Final = 8192
"""One challenge or credentials header. Chosen arbitrarily; a long one has 600."""

PARAMETERS: Final = 32
"""Parameters of one challenge. RFC 7616 defines 12."""

CHALLENGES: Final = 8
"""Challenges in one answer. Chosen arbitrarily."""

NONCE_LIFE_S: Final = 300.0
"""Life of a nonce; then the CPE is told that it is stale and asks with a new one. Longer than any recorded session."""
