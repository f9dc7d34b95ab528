"""Splynx: accounts, payments and webhooks, over its API 2.0. It is only read."""

from agent.connectors.splynx.spec import SPEC

__all__ = ["SPEC"]
