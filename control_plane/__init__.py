"""`ispcloud`: two programs under one name that trust each other no more than strangers do.

* `cli` (the typer app `ispcloud`, `main`), `errors` (the tree, and exit codes)
* `desk`: the approver's and owner's tool on their own workstation, offline by file or through a control plane
* the control plane, `ispcloud serve`: `server` (composition), `service` (calls), `broker` (permissions to send; pure),
  `queues` and `store` (kept messages), `live` (connections), `auth`, `members`, `certificates`, `witness`,
  `metrics`, `config`, `backup`, and its commands in `cli_server`
"""

from __future__ import annotations

import os

# gRPC's core writes to stderr by itself and quotes what a peer sent (GOAWAY's debug data), escape sequences included.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
