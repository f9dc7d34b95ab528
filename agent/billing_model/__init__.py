"""Billing as every source tells it: accounts, open invoices, payments, money and days.

A billing source is a connector that only reads. `source` has the roles that one plays, `account` the types that cross
from it to the agent, `money` amounts and currencies, `days` due days and the operator's "today", `hooks` verified
webhooks. Pure: no I/O, no clock.
"""
