"""The errors of the RADIUS connector's own parts; only those of `agent.connectors.base` cross to the main job.

* RadiusError
  x LocalRadiusError: we misused it
    + UnknownProfileError: a NAS is configured with a profile that is not shipped
    + UnencodableRequestError: an attribute is unknown, not allowed in this request, or its value has no encoding
  x MalformedReplyError: the datagram is not a RADIUS reply that a Dynamic Authorization Client may read
  x NotAuthenticReplyError: an authenticator does not match: forged, replayed, or another secret
  x NasUnreachableError: none of its datagrams could be sent
  x NoIdentifierError: every identifier of every socket is in use or in quarantine
"""

from __future__ import annotations


class RadiusError(Exception):
    """Anything that this package raises."""


class LocalRadiusError(RadiusError):
    """We misused it."""


class UnknownProfileError(LocalRadiusError):
    """No profile of that name is shipped."""


class UnencodableRequestError(LocalRadiusError):
    """The request cannot be encoded."""


class MalformedReplyError(RadiusError):
    """The datagram is not a reply to a CoA-Request or Disconnect-Request."""


class NotAuthenticReplyError(RadiusError):
    """The reply was not made by a holder of our secret for this very request."""


class NasUnreachableError(RadiusError):
    """Nothing was sent: the socket refused."""


class NoIdentifierError(RadiusError):
    """No identifier is free (RFC 5176 section 6.3 allows 256 for each of our ports within 300 s)."""
