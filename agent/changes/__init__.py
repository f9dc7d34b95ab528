"""The main job: one service change, from request to digest.

========  =======================  ==================================  =====================================
step      file                     takes, gives                        durable afterwards
========  =======================  ==================================  =====================================
request   `journal/request.py`     intent -> who asks for what         intent (replay guard), with the plan
preview   `planning/preview.py`    intent, inventory, reads -> plan    plan, items
approval  `authority/approval.py`  approvals -> policy met or missing  each approval
apply     `engine/apply.py`        consumed plan -> verdict per step   about-to before its first byte; outcome
audit     `journal/audit.py`       every event -> record, leaf         the event row is the leaf row
digest    `journal/digest.py`      outcomes -> signed outcome          outbox
========  =======================  ==================================  =====================================

Rooms import downward only (checked): `remote` -> `planning` -> `auditlog` -> `authority` -> `engine` -> `journal`. Each
room's `__init__` says what it takes, gives, and makes durable. Above them stand `worker.py`, which starts approved
plans, and `retry.py`; `judging.py` judges items again that are set and not proven yet; `clock_watch.py` halts applying
after a jump of the clock.

`journal/machine.py` holds every state, `journal/commands.py` and `journal/item_commands.py` every transaction;
`engine/tickets.py` gives tickets, `engine/perform.py` sends one step and reads it back; `auditlog/recovery.py` runs
after a crash.
"""
