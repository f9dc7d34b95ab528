"""What the programs say to each other through the control plane: generated code, committed; `make protos` makes it anew.

`message_pb2` (messages, kinds, refusals), `agent_pb2`, `desk_pb2`, `enrolment_pb2` and their `_grpc` halves. The rules
that every change keeps are in `README.md` beside them.
"""
