"""Bodies of CWMP messages, and a session that is posted any."""

from __future__ import annotations

from agent.connectors.cwmp import envelope
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.acs_session import AcsSession, Ended
from agent.connectors.cwmp.errors import (
    RemoteCwmpError,
)
from agent.connectors.cwmp.fields import Value
from agent.connectors.cwmp.methods import Message
from agent.connectors.cwmp.soap import Header
from agent.connectors.cwmp.structs import (
    DeviceId,
    InformEvent,
    InstallOperation,
    ParameterFault,
    ParameterInfo,
    ParameterValue,
    TransferFault,
)
from agent.connectors.cwmp.versions import CwmpVersion
from tests.builders import reads

ID = DeviceId("Maker", "00256D", "Box", "S1")


INFORM = m.Inform(
    ID, (InformEvent("1 BOOT", ""), InformEvent("M Reboot", "k")), 1, "2026-11-24T22:49:33Z", 0,
    (ParameterValue("Device.DeviceInfo.SoftwareVersion", Value("1 & 2", "string")),),
)  # fmt: skip


FAULTS = (ParameterFault("Device.X", 9007, "bad"), ParameterFault("Device.Y", 9008, None))


SEEDS: list[tuple[Message, CwmpVersion]] = [
    (INFORM, CwmpVersion.V1_0),
    (m.GetParameterNamesResponse((ParameterInfo("Device.", True), ParameterInfo("Device.X", False))), CwmpVersion.V1_1),
    (m.GetParameterValuesResponse((ParameterValue("Device.X", Value("7", "unsignedInt")),)), CwmpVersion.V1_2),
    (
        m.TransferComplete("k", TransferFault(9010, "no"), "2026-11-24T22:49:33Z", "0001-01-01T00:00:00Z"),
        CwmpVersion.V1_0,
    ),
    (m.Fault(9003, "Invalid arguments", FAULTS, "Client"), CwmpVersion.V1_0),
    (m.ChangeDUState((InstallOperation("http://x/"),), "k"), CwmpVersion.V1_2),
    (m.SetParameterValuesResponse(0), CwmpVersion.V1_0),
]


BODIES = [envelope.write(message, Header("s1-1"), version) for message, version in SEEDS]


def hear(data: bytes) -> str:
    """Read a body, and post it to a session before its Inform, in the middle, and in place of an answer."""
    try:
        end = type(reads.read(data).message).__name__
    except RemoteCwmpError as err:
        end = type(err).__name__
    for asked in (None, (), (m.Reboot("k"),)):
        session = AcsSession("s1", 0.0)
        if asked is not None:
            session.receive_untrusted(BODIES[0])
            session.respond(1.0)
            for request in asked:
                session.send(request)
                session.receive_untrusted(b"")
                session.respond(1.0)
        events = session.receive_untrusted(data)
        reply = session.respond(1.0)
        assert reply.status in (200, 204, 400)
        assert (reply.status == 200) == bool(reply.body)
        over = [e for e in (*events, reply.ended) if isinstance(e, Ended)]
        # A request that was sent is answered, still open, or said to be unknown
        assert not asked or session.pending or over or events
    return end
