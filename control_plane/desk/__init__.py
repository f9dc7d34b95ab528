"""The approver's and owner's tool: it runs where its person's key is, and trusts that person's own files only.

Pure: `trust_edit` (drafts of the trust document), `trust_sign` (k of n), `trust_text`, `exported` (verify what an agent
exported), `heads` (what this person has seen), `decide` (what they sign).
I/O: `files`, `key_files`, and the typer modules `cli_keys`, `cli_trust`, `cli_changes` over `cli_shared`.
"""
