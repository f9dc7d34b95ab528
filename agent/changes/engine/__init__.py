"""The engine: runs a consumed plan, item by item and step by step, and reads the result of each step back.

Takes: a consumed plan, with where each item stands; sessions to targets, by their connectors.
Gives: a verdict for each step, a state for each item, and why the run was stopped early, if it was.
Durable: "about to" before a step's first byte; its outcome before any step that must follow it; with the item's last
move, its addresses given back.

The way of the data, downward only. An object holds objects below it, and never one above it::

    apply.py     Run      waves of a plan: canary, soak, health, pace, stop rules; after a crash, doubts first
    undo.py      Undo     one item back, as the plan declares (`--on-failure revert`)
    item.py      ItemRun  one item forward: waits, steps, fallbacks, enforcement, its end
    steps.py     Steps    one item's steps: known outcomes, `send`, the outcome that is owed, addresses
    tickets.py   Tickets  one plan's commands to the journal: leave to send, outcomes, moves
    perform.py            one step on the wire: send, read back, verdict; its second half is the recovery
    sessions.py  Sessions a session for each target, shared reads, places in the window

Before an item's first byte `reads.py` looks whether all that it rests on reads as in the preview; at the end of a batch
it reads its writes once more. `devices.py` stands beside them: it shows devices to people, on the same sessions.
"""
