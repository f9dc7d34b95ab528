"""A TR-069 CPE to rehearse on: sessions, transfers, reboots, connection requests, and the mistakes of real ones.

Written from TR-069 amendment 6, TR-098 and TR-181. It imports none of the project's other packages.

- `state`: all that one CPE has, under its `methods` (one a request), `transfers` and `session`; `device`: the CPE that
  is run from outside, its boots and timers; `effects`: what follows from a parameter
- `model`: data models as text, `tr098` and `tr181` two of them, `shared` what they have in common; `tree`: one CPE's
  parameters; `values`: which texts a type takes; `diagnostics`, `timers`
- `soap`: envelopes read and written; `auth`, `http`: HTTP as a CPE speaks it
- `caller`: a session over HTTP, and retries; `doorbell`, `udp`: connection requests; `client`: a CPE that runs (trio);
  `fleet`: thousands of them
- `quirks`: what it can be told to get wrong; `records`: what happened
"""
