"""The approver's and owner's tool: it runs where its person's key is, and trusts that person's own files only.

It works on files alone; through a control plane it does the same, and believes nothing of it: it shows, approves and
counts only documents signed by an agent or a person of the trust document. It imports none of the server.

Pure: `trust_edit` (drafts of the trust document), `trust_sign` (k of n), `trust_text`, `exported` (verify an agent's
export, or its answer to a view), `remembered_checkpoints` (the logs and trust documents that this person has seen),
`memory` (their desk's sent messages), `feed` (the shared feed folded into changes), `decide` (their decisions),
`signing`, `cloud_identity` (key, certificate). I/O: `files`, `key_files`, `unlock` (a key for a shift, in a process of
its own), `cloud_client` (alone calls the control plane), `online` (both halves together), `witnessing` (the desk as a
witness), `notify`, `showing`, and the typer modules `cli_keys`, `cli_trust`, `cli_changes` (with `cli_freeze`,
`cli_intents`, `cli_cpes`, `cli_watch`), `cli_standing`, `cli_cloud` over `cli_shared`.
"""
