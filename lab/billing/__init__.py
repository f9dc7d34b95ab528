"""Billing systems to rehearse with: a UISP CRM and a Splynx on loopback, with state and with faults.

`uisp` and `splynx` keep books and answer requests (no I/O), `server` speaks HTTP and plays faults, `command` is `python
-m lab billing`. Written from the published descriptions of their APIs; where those are silent, the lab behaves badly
for a reader, and `assumed.toml` lists it.
"""
