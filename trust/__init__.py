"""What an agent, an approver's desk and an offline auditor share: statements, who may sign them, and what they prove.

Standard library and PyNaCl; no I/O, no clock (`now` is a parameter, in unix seconds). Modules, bottom up:

* `errors`, `limits`, `chance` (where random bytes come from), `strict_json`
* `keys` (Ed25519, words, sealed keys), `envelope` (DSSE), `merkle` (RFC 6962), `checkpoint` (C2SP notes)
* `policy` (classes, presets, the risk class), `document` (the trust document), `items` (what a plan would do),
  `statements` (all payload types)
* `seal` (X25519 sealed bodies and pages), `sealed_secret` and `cpe_settings` (what an intent sets on CPE)
* `chain` (trust, link after link), `verify` (is this plan approved, or covered by a standing authority?), `answer`
  (what an agent shows a viewer)
* `leaf` (one entry of the log), `witness` (who else saw the log), `proof` (evidence files), `render` (previews from
  verified bytes), `terminal` (colors, width, JSON errors and the
  text of others on both command lines)
"""
