"""Billing sources at work: their loops, how far each one's word counts, and webhooks.

`states` judges readings (pure), `sources` reads every source in its time and on demand, `hooks_listener` hears
webhooks. `agent.inventory.ledger` keeps the facts.
"""
