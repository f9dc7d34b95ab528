"""Devices that a LibreNMS polls: their ports, radios and sensors are read from its API, so that nobody polls twice."""

from agent.connectors.librenms.spec import SPEC

__all__ = ["SPEC"]
