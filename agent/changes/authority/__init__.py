"""Authority: whether a plan may start, and the stops.

Takes: signed approvals (`approval`), standing authorities (`standings`), cancels and freezes (`stops`).
Gives: policy met, or the approvals that are missing.
Durable: each approval, refusal, standing authority and stop.
"""
