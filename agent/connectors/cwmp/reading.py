"""The body of a POST to its message, in slices, so that whoever has more to do than this can do it in between. Pure.

A body of a stranger is small and read in one slice. The answer to a request of ours may be a whole tree of parameters,
which takes a quarter of a second: slices of it take some milliseconds each.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.connectors.cwmp import envelope, limits, salvage, soap, xml_tree
from agent.connectors.cwmp.errors import MalformedXmlError, RemoteCwmpError
from agent.connectors.cwmp.methods import Message
from agent.connectors.cwmp.xml_tree import Slices, in_one_go


@dataclass(frozen=True, slots=True)
class BodyRead:
    """The result of reading a body. `opened`, `message`: None where `error` says why not.

    `salvaged`: the same without the values that cannot be decoded; whether that may be taken depends on its message.
    """

    opened: soap.Opened | None = None
    message: Message | None = None
    error: RemoteCwmpError | None = None
    salvaged: tuple[soap.Opened, Message] | None = None


def read_untrusted(body: bytes) -> BodyRead:
    """Return the result of reading a body, in one go. Total."""
    return in_one_go(read_in_slices_untrusted(body))


def read_in_slices_untrusted(body: bytes, most: int = limits.ELEMENTS) -> Slices[BodyRead]:
    """Return the result of reading a body, after some slices of work. Total.

    Args:
        body: of a POST, in clear.
        most: elements that may be in it.
    """
    opened: soap.Opened | None = None
    try:
        root = yield from xml_tree.parse_in_slices_untrusted(body, most)
        opened = soap.opened_untrusted(root)
        return BodyRead(opened, envelope.read_message_untrusted(opened.message))
    except RemoteCwmpError as err:
        if not isinstance(err, MalformedXmlError):
            return BodyRead(opened, error=err)
        error = err
    try:
        return BodyRead(opened, error=error, salvaged=(yield from salvage.read_in_slices_untrusted(body, most)))
    except RemoteCwmpError:
        return BodyRead(opened, error=error)
