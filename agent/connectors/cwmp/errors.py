"""The errors of CWMP: reading and writing messages, and authentication.

* CwmpError
  x LocalCwmpError: we misused it: a message that the schema does not have; nothing was written
  x RemoteCwmpError: the CPE sent something that is not understood
    + MalformedXmlError: not the XML that is taken: not well-formed, a DTD, another encoding, a limit passed
    + MalformedSoapError: XML, and no SOAP envelope with one message
    + HeaderNotUnderstoodError: a header that must be understood and is not known (SOAP 1.1 section 4.2.3)
    + UnknownMethodError: an envelope, and no method of CWMP in it
    + MalformedMessageError: a method, and its arguments are not those of the schema, however liberally read
    + MalformedAuthError: no HTTP challenge or credentials
    + MalformedStunError: no STUN message, of `stun.py`, where it is defined

No message holds a value that came: only names of elements, clipped and neutralized, counts and places.
"""

from __future__ import annotations


class CwmpError(Exception):
    """Anything that CWMP's pure half raises."""


class LocalCwmpError(CwmpError):
    """We misused it."""


class RemoteCwmpError(CwmpError):
    """The CPE sent something that is not understood."""


class MalformedXmlError(RemoteCwmpError):
    """Not the XML that is taken."""


class MalformedSoapError(RemoteCwmpError):
    """XML, and no SOAP envelope with one message."""


class HeaderNotUnderstoodError(RemoteCwmpError):
    """A header that must be understood is not known."""


class UnknownMethodError(RemoteCwmpError):
    """An envelope, and no method of CWMP in it."""


class MalformedMessageError(RemoteCwmpError):
    """A method with other arguments than those of the schema."""


class MalformedAuthError(RemoteCwmpError):
    """No HTTP challenge or credentials."""
