"""Every limit of CWMP, each with its reason or "chosen arbitrarily".

A CPE is in the customer's house: its messages must not be able to fill the agent's memory or hold its processor.
"""

from __future__ import annotations

from typing import Final

# --- XML that comes in ---

BODY_BYTES: Final = 4 << 20
"""The answer of an accepted CPE to a request of ours. The largest recorded has 587 kB for 3,263 names, a tree of 9,000
parameters 1.2 MB; TR-069 section 3.5 sets no maximum."""

ELEMENTS: Final = 72_000
"""Elements of such an answer: 24,000 parameters with their values. More than 20,000 are not kept. Some 0.3 s."""

STRANGER_ELEMENTS: Final = 2_000
"""Elements of any other body: an Inform of 500 parameters. Some 10 ms."""

SLICE_BYTES: Final = 16 << 10
"""Read of a large body between two turns of others: some 3 ms."""

SLICE_TOKENS: Final = 2_000
"""Tags and references mended of one between two turns of others: some 3 ms."""

DEPTH: Final = 32
"""Elements inside each other. The schema needs 8: an access list's string in SetParameterAttributes."""

ATTRIBUTES: Final = 32
"""Attributes of one element, namespace declarations among them. The most that is recorded is 6."""

PREFIXES: Final = 64
"""Namespace prefixes that hold at one place. Recorded envelopes have 5."""

NAME_CHARS: Final = 256
"""An element's or attribute's name. The schema's longest has 39."""

TEXT_CHARS: Final = 2 << 20
"""Text of one element. The longest values are vendors' configuration in base64; chosen arbitrarily."""

SALVAGE_BYTES: Final = 4 << 20
"""An answer in which some values cannot be decoded, which is read a second time. The largest recorded has 587 kB."""

SALVAGE_MARKS: Final = 10_000
"""Places in it that cannot be decoded; with more of them it is no answer with a few bad values."""

ID_CHARS: Final = 1024
"""The envelope's ID, which we repeat. TR-069 gives no maximum; recorded ones have up to 36."""

VERSIONS_CHARS: Final = 256
"""The list of versions in a header. Chosen arbitrarily."""

# --- sessions ---

TIMEOUT_S: Final = 60.0
"""Silence after which a session is over: twice the 30 seconds that TR-069 has a CPE wait at least."""

TIMEOUT_MOST_S: Final = 600.0
"""The longest silence that an accepted CPE may ask for by its SessionTimeout header. Chosen arbitrarily."""

POSTS: Final = 20_000
"""POSTs of one session: ends one that never does. A request for each object of a large tree makes fewer."""

POSTS_WAITING: Final = 4
"""POSTs of one session on other connections that wait until the one before is answered. Chosen arbitrarily."""

STRIKES: Final = 3
"""Requests in a row that were answered by a fault because they could not be read; then the session ends."""

REPEATS: Final = 5
"""The same POST in a row that is given the same answer; then the session ends. Chosen arbitrarily."""

QUEUE: Final = 1000
"""Requests that wait to be sent in one session. Chosen arbitrarily."""

HOLD_S: Final = 20.0
"""How long a CPE that has said all is kept waiting for work: it gives up after 30 (TR-069 section 3.4.1)."""

LINGER_S: Final = 2.0
"""How long a new CPE is kept on the line for its baseline to be prepared: to read it and to make the plan."""

SAMPLED: Final = 24
"""Parameters that are read of a CPE for their history when it calls in: one optical or DSL line, and a few radios."""
SAMPLE_S: Final = 20.0
"""How long a CPE is kept on the line for that, after all other work."""
SAMPLES_AT_ONCE: Final = 16
"""CPE that are read so at once. One more that calls in meanwhile is read at another call."""
SAMPLE_TIMES: Final = 100_000
"""CPE of which the ACS remembers when it read them so. Chosen arbitrarily."""

GONE_S: Final = 8.0
"""How long a CPE that hung up may take to come back on another connection, and go on. Then its place is another's:
within ten seconds, since the ACS looks every two."""

READ_WAIT_S: Final = 60.0
"""How long one read waits for a CPE to call in before it says that it cannot be read now."""

# --- the listener ---

STRANGER_BODY_BYTES: Final = 64 << 10
"""A POST, inflated, that is no answer of an accepted CPE to a request of ours. An Inform has 3 kB; 64 of its parameters
are 20 kB."""

INFLATED_RATIO: Final = 200
"""How many times larger than on the wire a compressed body may become. XML of a large tree shrinks thirtyfold."""

HEAD_BYTES: Final = 16_384
"""The head of one HTTP request. Chosen arbitrarily."""

FIRST_HEAD_S: Final = 20.0
"""From connecting to the first whole head: a silent peer holds one of few connections."""

IDLE_S: Final = 90.0
"""From an answer to the next request on a connection of a session: longer than a session's silence. On any other
connection it is `FIRST_HEAD_S`."""

BODY_S: Final = 60.0
"""For the answer to a request of ours: 600 kB over a poor line."""

STRANGER_BODY_S: Final = 20.0
"""For any other body: an Inform of 3 kB over a poor line."""

WRITE_S: Final = 30.0
"""For one answer to be taken."""

TROUBLES: Final = 2000
"""CPE to remember the last session's trouble of, each a sentence. Chosen arbitrarily."""

RETRY_AFTER_S: Final = 60
"""The least wait that a CPE is told when it is not let in, and as much again at random: not all are to come at once."""

# --- shares. A stranger is a peer that has not proved to be an accepted CPE ---

SHARE: Final = 8
"""A network may have one in so many of `CwmpConfig.sessions` as connections of strangers: 25. Behind one address of a
carrier-grade NAT stands a street: a CPE takes a place for the tenths of a second of its login."""

SHARE_LEAST: Final = 4
"""But so many at least."""

PATIENCE_S: Final = 2.0
"""A stranger loses its place to another one of its network after so long a silence, in seconds. CPE log in faster."""

STRANGER_SESSIONS_EACH: Final = 2
"""Sessions of strangers of one network: a CPE in quarantine needs one, for two POSTs."""

STRANGER_SESSIONS: Final = 4
"""All of them have one in so many of `CwmpConfig.sessions`. The others are accepted CPE's."""

STRANGER_BYTES: Final = 8 << 20
"""Bodies of strangers in memory, at once: 2,700 Informs."""

SMALL_BYTES: Final = 8 << 20
"""Bodies of accepted CPE that are no answers to requests of ours."""

LARGE_BYTES: Final = 24 << 20
"""Bodies of accepted CPE in memory, inflated: three of the largest."""

PASS_WORK: Final = 16.0
"""Begun in one pass of the event loop for accepted CPE, in units of 0.1 ms: an API call needs some 15 passes."""

ARRIVAL_WORK: Final = 2.0
"""Of a connection that is let in: its task, its socket, the head of its first request."""

STRANGER_PASS_WORK: Final = 8.0
"""Begun in one for strangers. They have a line of their own, so that accepted CPE do not stand behind them."""

ARRIVALS_AT_ONCE: Final = 32
"""Connections taken in one pass: 0.1 ms each."""

LET_IN_AT_ONCE: Final = 8
"""Of these, let in: 0.3 ms each."""

ARRIVALS: Final = 30.0
"""Connections of a network that are let in at once; one that becomes an accepted CPE's does not count. A CPE in
quarantine needs one for each call."""

ARRIVALS_PER_S: Final = 2.0
"""And in a second after that. Each costs 0.3 to 1 ms: 200 networks together two fifths of a core at most."""

REGULAR_ARRIVAL: Final = 0.1
"""The cost of one connection from a network that accepted CPE called from: there are 300 at once and 20 in a second."""

REGULARS: Final = 20_000
"""Networks that accepted CPE called from which are remembered: the fleet that this is made for. Some 3 MB."""

HANDSHAKE_WORK: Final = 20.0
"""Of a TLS handshake, which is mostly one signature with RSA."""

STRANGER_WORK: Final = 2_000.0
"""That a network causes at once as a stranger: 200 CPE in quarantine call in. Wrong credentials cost no such work."""

STRANGER_WORK_PER_S: Final = 100.0
"""And in a second after that: a hundredth of a core."""

CPE_WORK: Final = 10_000.0
"""That an accepted CPE causes at once: a tree of 9,000 parameters is read four times."""

CPE_WORK_PER_S: Final = 500.0
"""And in a second after that: a twentieth of a core, some 100 POSTs, more than CPE answer."""

PEERS: Final = 10_000
"""Peers to remember the work of. Chosen arbitrarily."""

# --- traces ---

TRACES: Final = 4
"""Traces that run at once. Chosen arbitrarily."""

TRACE_MESSAGE_BYTES: Final = 64 << 10
"""Shown of one message. An Inform has 3 kB, the answer to a read of a table some 20."""

TRACE_BYTES: Final = 1 << 20
"""Shown by one trace in all; then it is over."""

# --- HTTP authentication ---

HEADER_CHARS: Final = 8192
"""One challenge or credentials header. Chosen arbitrarily; a long one has 600."""

PARAMETERS: Final = 32
"""Parameters of one challenge. RFC 7616 defines 12."""

CHALLENGES: Final = 8
"""Challenges in one answer. Chosen arbitrarily."""

NONCE_LIFE_S: Final = 300.0
"""Life of a nonce; then the CPE is told that it is stale and asks with a new one. Longer than any recorded session."""

# --- connection requests, and the STUN server that Annex G needs ---

CONNECTION_URL_CHARS: Final = 256
"""ConnectionRequestURL, and UDPConnectionRequestAddress: TR-098 has both up to 256 characters."""

CONNECTION_HEAD_BYTES: Final = 8192
"""All that a CPE may send before its answer's head is whole. Chosen arbitrarily; a challenge has some 300."""

CONNECTION_BODY_BYTES: Final = 65_536
"""Of the body of an answer, which is read and dropped; then the connection is closed. TR-069 has no body there."""

CONNECTION_DRAIN_S: Final = 1.0
"""For that body, once the answer is known: a slow body must not hold up a decided answer."""

CONNECTION_ADDRESSES: Final = 4
"""Addresses that are tried where a CPE's URL has a name. Chosen arbitrarily."""

UDP_COPIES: Final = 3
"""Times that a UDP connection request is sent; none is ever answered. Others send three as well."""

UDP_GAP_S: Final = 0.5
"""Between two copies: one short outage should not take all."""

REQUEST_PAUSES_S: Final = (10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Between connection requests to a CPE; the last one then repeats. A CPE may refuse all but a few (TR-069 3.2.2)."""

REQUEST_JITTER: Final = 0.25
"""How much of a pause is left to chance, at most: a thousand CPE that lost power must not be asked in one second."""

CALL_IN_S: Final = 30.0
"""A CPE that took the request has this long to call in (TR-069 section 3.2.2): no attempt before."""

STUN_BYTES: Final = 548
"""One message: RFC 5389 section 7.1 has no more where the path's MTU is not known. Annex G needs 332 at most."""

STUN_ATTRIBUTES: Final = 32
"""Attributes of one message. Annex G needs 6."""

STUN_USERNAME_BYTES: Final = 260
"""STUNUsername has up to 256, and some pad it to a multiple of four."""

STUN_UNKNOWN: Final = 8
"""Attributes that an error names as not understood. Chosen arbitrarily."""

STUN_AMPLIFICATION: Final = 3
"""A reply is at most so many times its request, since the source of a datagram can be forged; QUIC takes 3 as well."""

# --- the line ---

READ_BATCH: Final = 64
"""Parameters that are asked for in one request where a profile says nothing. Chosen arbitrarily; a CPE that refuses so
many is asked for halves."""

TOLD: Final = 64
"""Ended transfers to remember of one CPE. One is under way at a time."""

RESET_S: Final = 3600
"""How long after we asked for a factory reset a CPE may come with credentials that many share and still be the same."""
