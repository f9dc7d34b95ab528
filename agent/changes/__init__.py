"""The main job: one service change, from request to digest.

========  ===============  ======================================  =========================================
step      file             takes, gives                            durable afterwards
========  ===============  ======================================  =========================================
request   `request.py`     intent -> who asks for what             intent (replay guard), with the plan
preview   `preview.py`     intent, inventory, reads -> plan        plan, items
approval  `approval.py`    approvals -> policy met, or missing     each approval
apply     `apply.py`       consumed plan -> verdict per step       about-to before its first byte; outcome
audit     `audit.py`       every event -> record, leaf             the event row is the leaf row
digest    `digest.py`      outcomes -> signed outcome              outbox
========  ===============  ======================================  =========================================

`machine.py` holds every state; `commands.py` every transaction; `journal.py` gives tickets; `perform.py` sends one step
and reads it back; `recovery.py` is what happens after a crash; `worker.py` starts what is approved.
"""
