"""Remote: requests, approvals and views that arrive through the control plane.

Takes: messages of the inbox (`inbox_handler`), sealed intents (`sealing`).
Gives: receipts, and sealed pages of a plan's items for one person (`views`).
Durable: each message's effect together with its receipt.
"""
