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
`devices.py` is beside it: what people see of the devices, without a change.

With a control plane, what people elsewhere sign comes through the store's inbox, and answers leave by its outbox:

================  ===========================================================================================
`mailroom.py`     handles the inbox: each message by its signature, once in effect, with a receipt
`sealing.py`      the week-long keys that intents are sealed to
`views.py`        a plan's items, sealed to the one request of a person who may see them now
`standings.py`    authority that two people signed beforehand
`witnesses.py`    cosignatures of the log; what a start waits for
================  ===========================================================================================
"""
