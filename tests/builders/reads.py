"""Reading in one go: what the agent reads in slices."""

from __future__ import annotations

from dataclasses import dataclass

from agent.connectors.cwmp import envelope, soap
from agent.connectors.cwmp.methods import Message
from agent.connectors.cwmp.soap import Header
from agent.connectors.cwmp.versions import CwmpVersion
from agent.connectors.cwmp.xml_tree import Element, in_one_go, parse_in_slices_untrusted


@dataclass(frozen=True, slots=True)
class EnvelopeRead:
    """A message with its header. `version`: 1.0's where no namespace says."""

    message: Message
    header: Header
    version: CwmpVersion

    @property
    def id(self) -> str | None:
        return self.header.id


def parse(data: bytes) -> Element:
    """Return the root element of a document."""
    return in_one_go(parse_in_slices_untrusted(data))


def read(data: bytes) -> EnvelopeRead:
    """Return the message that a POST's body holds."""
    opened = soap.opened_untrusted(parse(data))
    message = envelope.read_message_untrusted(opened.message)
    return EnvelopeRead(message, opened.header, opened.version or CwmpVersion.V1_0)
