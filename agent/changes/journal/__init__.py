"""The journal: states, transactions and plans of a change, on disk.

Takes: typed commands, each one transaction (`commands`, `item_commands`), and trust documents (`trust_state`).
Gives: the state machine (`machine`), plans as they were signed (`plans`), requests (`request`), records (`audit`), and
the signed outcome (`digest`).
Durable: every intent, plan, item, step, approval and event, each in the transaction that it belongs to.
"""
