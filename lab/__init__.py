"""A small internet service provider on loopback, to rehearse changes on and to test against.

Written from the RFCs (2865, 2866, 2869, 3162, 4818, 5176) and from the documentation of FreeRADIUS and MikroTik. It
imports none of the project's other packages and has a RADIUS codec of its own: one misreading cannot pass on both
sides.

- `isp.open_lab`: the whole, for tests; `python -m lab isp`: the same for a person (lab/README.md)
- `population`: subscribers, tariffs, groups; `database`: the RADIUS SQL tables; `files`: CSV, mapping, lab.json
- `radius_server`: authentication and accounting on those tables; `policy`: its pure half
- `nas`: a BNG with sessions, CPE that redial, CoA and Disconnect; `faults`: what it can be told to get wrong
- `radius_codec`, `dictionary`: packets and attributes; `control`: the unix socket
"""
