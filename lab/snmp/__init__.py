"""SNMP devices to rehearse on: agents that answer v1, v2c and v3 on loopback, from recordings or built by a test.

Written from the RFCs (1157, 1901, 3411 to 3418, 3584, 3826, 7860). It imports none of the project's other packages and
has a codec and a user-based security model of its own: one misreading cannot pass on both sides.

- `server.open_snmp_lab`: agents on loopback for a block; `python -m lab snmp`: the same for a person (lab/README.md)
- `device`: one device: values, faults, links, reboots; `mib`: its sorted values, encoded in advance; `moving`: values
  that follow a clock; `links`: interfaces; `sets`: the columns that may be written
- `answers`: a request in, a response out; `messages`: v1 and v2c; `v3`, `usm`: v3; `ber`: encoding; `values`: values
- `recording`: `.snmprec` files; `faults`: what a device can be told to get wrong
- `notifications`: traps and informs as messages; `notifier`: sends them, and storms
- `network`: a whole small network; `tables`, `radios`, `olt`: the values of its devices
- `control`: a unix socket by which a person breaks and mends it
"""
