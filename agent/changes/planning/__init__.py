"""Planning: turns a request into a signed plan.

Takes: a request, the inventory, and reads of the network (`intake`).
Gives: a plan with its items, signed by the agent (`preview`).
Durable: intent, plan and items in one transaction.
"""
