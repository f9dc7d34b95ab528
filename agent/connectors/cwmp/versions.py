"""The namespaces of CWMP, and the others of an envelope's names."""

from __future__ import annotations

import enum
import re
from typing import Final

SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
ENCODING: Final = "http://schemas.xmlsoap.org/soap/encoding/"
XSD: Final = "http://www.w3.org/2001/XMLSchema"
XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
_CWMP: Final = re.compile(r"urn:dslforum-org:cwmp-1-(\d{1,2})", re.ASCII)


class CwmpVersion(enum.Enum):
    """A namespace of CWMP. The protocol's versions 1.3 and 1.4 are in that of 1.2 (cwmp-1-3.xsd, cwmp-1-4.xsd).

    Which of the three a CPE speaks is in its SupportedCWMPVersions header, if it is of 1.4.
    """

    V1_0 = 0
    V1_1 = 1
    V1_2 = 2

    @property
    def namespace(self) -> str:
        """The namespace of its methods."""
        return f"urn:dslforum-org:cwmp-1-{self.value}"


def version_of(namespace: str) -> CwmpVersion | None:
    """Return the version of a namespace, None where it is none of CWMP's.

    A later one than 1.2 is not in any schema, but CPE of 1.3 and 1.4 use it: they are of 1.2.
    """
    found = _CWMP.fullmatch(namespace.strip())
    return CwmpVersion(min(int(found[1]), CwmpVersion.V1_2.value)) if found else None


PROTOCOL_VERSIONS: Final = ("1.0", "1.1", "1.2", "1.3", "1.4")
"""The versions that our ACS speaks; in the header UseCWMPVersion (TR-069 section 3.7.2.1, since 1.4)."""
