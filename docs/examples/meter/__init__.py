"""Meters that write their values into a file, a line `NAME=VALUE` each. They are read and polled."""

from agent.connectors.meter.spec import SPEC

__all__ = ["SPEC"]
