"""The protocol between the programs: generated code, and the little that both ends write by hand.

Generated and committed; `make protos` makes it anew: `message_pb2` (messages, kinds, refusals), `agent_pb2`,
`desk_pb2`, `enrolment_pb2` and their `_grpc` halves. By hand: `channel` (a client's hardened connection), `limits`,
`member_files` (invitations and credentials), and `command_line` (commands that are imported when they are called),
which has no other place that both programs may import. The rules that every change keeps are in `README.md` beside
them.
"""

from __future__ import annotations

from typing import Final

PROBLEM_KEY: Final = "problem-bin"
"""The trailing metadata of a call that carries a `Problem`."""
