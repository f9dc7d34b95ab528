"""The only way out: one mTLS connection to the control plane, dialed by the agent. The agent works without it.

It moves messages between the store's outbox and inbox and the control plane, and understands none of them: `changes`
judges a message by its signatures, whoever carried it.

* `link.Uplink`: the connection's life: reconnects, receives, sends, renews its certificate.
* `client.CloudClient`: the calls; the one file that imports grpc.
* `wire`: messages checked field by field; pure.
* `enrolment`: the invitation, the key and its certificate; `identity`: `cloud.json`, where they are kept.
* `errors`, `limits`.
"""

from __future__ import annotations

import os

# gRPC's core writes to stderr by itself, past the redacting handler, and quotes what a peer sent (GOAWAY's debug data).
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
