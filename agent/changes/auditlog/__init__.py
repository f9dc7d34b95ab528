"""The audit log: proofs of the log, cosignatures of witnesses, and the start after a crash or a restored backup.

Takes: the log's leaves (written by the journal), cosignatures (`witnesses`), the high-water mark (`recovery`).
Gives: checkpoints and exports that anybody can verify (`evidence`).
Durable: checkpoints before they are published, cosignatures.
"""
