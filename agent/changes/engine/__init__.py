"""The engine: runs a consumed plan, step by step, and reads back what became of each.

Takes: a consumed plan (`apply`), sessions to targets (`sessions`, `coalesce`).
Gives: a verdict per step (`perform`), a state per item (`item_run`, `item_end`, `item_revert`).
Durable: "about to" before a step's first byte, its outcome before any step that must follow it (`journal`).
"""
