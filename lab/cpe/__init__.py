"""A TR-069 CPE to rehearse on: sessions, transfers, reboots, connection requests, and what real ones get wrong.

Written from TR-069 amendment 6, TR-098 and TR-181. It imports none of the project's other packages.

- `device`: the CPE itself, pure: events, session, boots; `methods`: what each request does; `effects`: what follows
- `model`: data models as text, `tr098` and `tr181` two of them, `shared` what they have in common; `tree`: one CPE's
  parameters; `values`: which texts a type takes; `diagnostics`, `transfers`, `timers`
- `soap`: envelopes read and written; `auth`, `http`: HTTP as a CPE speaks it
- `caller`: a session over HTTP, and retries; `doorbell`, `udp`: connection requests; `client`: a CPE that runs (trio);
  `fleet`: thousands of them
- `quirks`: what it can be told to get wrong; `records`: what happened
"""
