"""Where the recordings and schemas of TR-069 are, for tests that read them in place."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
from lxml import etree

TR069 = Path(__file__).parents[4] / "shared" / "data" / "tr069"
V1_0, V1_1, V1_2 = (f"urn:dslforum-org:cwmp-1-{n}" for n in range(3))
"""The namespaces of CWMP: 1.3 and 1.4 are in that of 1.2."""
_SCHEMAS = {V1_0: "cwmp-1-0.xsd", V1_1: "cwmp-1-1.xsd", V1_2: "cwmp-1-4.xsd"}


def recorded(path: str) -> Path:
    """A recorded file; the test is skipped where there are none, and fails under CI."""
    if not TR069.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs ../shared/data/tr069")
        pytest.skip("no ../shared/data here: recordings of TR-069 are not compared")
    return TR069 / path


class _Local(etree.Resolver):
    """The Broadband Forum's schemas import each other and SOAP's by addresses; all of them are local here."""

    def resolve(self, url: str, _id: object, context: object) -> object:
        for part, name in (("soap/envelope", "soap-env-stub.xsd"), ("soap/encoding", "soap-enc-stub.xsd")):
            if part in url:
                return self.resolve_filename(str(recorded(f"xsd/{name}")), context)
        if "broadband-forum.org/cwmp/" in url:
            return self.resolve_filename(str(recorded(f"xsd/{url.rsplit('/', 1)[1]}")), context)
        return None


@cache
def schema(namespace: str) -> etree.XMLSchema:
    """The Broadband Forum's schema of a namespace, with SOAP's around it."""
    parser = etree.XMLParser()
    parser.resolvers.add(_Local())
    imports = {
        "http://schemas.xmlsoap.org/soap/envelope/": "http://schemas.xmlsoap.org/soap/envelope/",
        namespace: recorded(f"xsd/{_SCHEMAS[namespace]}").as_uri(),
    }
    lines = "".join(f'<xs:import namespace="{ns}" schemaLocation="{where}"/>' for ns, where in imports.items())
    top = f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">{lines}</xs:schema>'
    return etree.XMLSchema(etree.fromstring(top, parser))


def complaints(data: bytes, namespace: str) -> list[str]:
    """What the schema has against an envelope."""
    here = schema(namespace)
    here.validate(etree.fromstring(data))
    return [entry.message for entry in here.error_log]


def parameters(path: Path) -> dict[str, str]:
    """The parameters and values of a recorded message, whatever it is; empty where it has none."""
    try:
        root = etree.parse(str(path)).getroot()
    except etree.XMLSyntaxError:
        return {}
    found: dict[str, str] = {}
    for each in root.iter("{*}ParameterValueStruct", "ParameterValueStruct"):
        fields = {etree.QName(child).localname: (child.text or "") for child in each if isinstance(child.tag, str)}
        if "Name" in fields and "Value" in fields:
            found[fields["Name"].strip()] = fields["Value"]
    return found
