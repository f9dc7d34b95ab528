"""SNMP: network devices that are read, polled and heard (RFC 3411 to 3418, RFC 1157, RFC 1901)."""

from agent.connectors.snmp.spec import SPEC

__all__ = ["SPEC"]
