"""The part that agent, approver's desk and offline auditor share: statements, signers' rights, proofs.

Standard library and PyNaCl; no I/O, no clock (`now` is a parameter, in unix seconds). Modules, bottom up:

* `errors`, `limits`, `chance` (where random bytes come from), `strict_json`
* `keys` (Ed25519, words, sealed keys), `envelope` (DSSE), `merkle` (RFC 6962), `checkpoint` (C2SP notes)
* `short_id` (by which people name a change), `policy` (classes, presets, the risk class), `document` (the trust
  document), `items` (a plan's content), `statements` (all payload types)
* `seal` (X25519 sealed bodies and pages), `sealed_secret` and `cpe_settings` (an intent's settings of CPE)
* `chain` (trust, link after link), `verify` (is this plan approved, or covered by a standing authority?), `answer`
  (an agent's reply to a view)
* `leaf` (one entry of the log), `witness` (cosignatures under the log), `proof` (evidence files), `render` (previews
  from
  verified bytes), `terminal` (colors, width, JSON errors and the
  text of others on both command lines)
"""
