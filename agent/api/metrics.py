"""Metrics and health for monitoring on loopback, in Prometheus' text format 0.0.4. No label names a subscriber.

Everything is worked out from the agent's state when it is asked for, so there is nothing that a library would count.
Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from agent.api.call import ApiParts
from agent.api.overview import Condition, Overview, overview
from agent.lines.desk import OutageView
from agent.lines.outage import CauseKind
from agent.reasons import HttpReason
from agent.runtime.errors import HttpError
from agent.runtime.http import HttpRequest, Response, TextResponse
from agent.runtime.outages import SourceState

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_Sample = tuple[Mapping[str, str], float]


def exposition(found: Overview) -> str:
    """Return the metrics as text."""
    return "".join(_family(*family) for family in _families(found))


def _families(o: Overview) -> Iterator[tuple[str, str, str, Iterable[_Sample]]]:
    yield (
        "ispagent_condition",
        "gauge",
        "1 for the condition that holds, 0 for the others.",
        [({"condition": c.value}, float(c is o.condition)) for c in Condition],
    )
    yield (
        "ispagent_source_up",
        "gauge",
        "Whether a target, NAS or file that the agent depends on answers; absent before it was asked.",
        [
            ({"source": s.name}, float(s.state is SourceState.UP))
            for s in o.sources
            if s.state is not SourceState.NOT_ASKED
        ],
    )
    yield (
        "ispagent_source_last_success_timestamp_seconds",
        "gauge",
        "When a source answered last, unix seconds.",
        [({"source": s.name}, s.ok_s) for s in o.sources if s.ok_s is not None],
    )
    yield (
        "ispagent_source_state_since_timestamp_seconds",
        "gauge",
        "Since when a source is up or down, unix seconds.",
        [({"source": s.name}, s.since_s) for s in o.sources if s.since_s is not None],
    )
    yield "ispagent_changes", "gauge", "Changes by their gate.", _by("gate", o.gates)
    yield "ispagent_items", "gauge", "Items of all changes by state.", _by("state", o.items)
    if o.connected is not None:
        yield "ispagent_cloud_connected", "gauge", "Whether the control plane is connected.", [({}, float(o.connected))]
        yield "ispagent_outbox_messages", "gauge", "Messages that wait to be sent.", [({}, o.outbox)]
        yield "ispagent_inbox_messages", "gauge", "Messages that wait to be handled.", [({}, o.inbox)]
    if o.trust_until_s is not None:
        until: list[_Sample] = [({}, float(o.trust_until_s))]
        yield "ispagent_trust_expires_timestamp_seconds", "gauge", "When the trust document ends.", until
    if (drift := o.drift) is not None:
        counts = {"checked": drift.checked, "differ": drift.differ, "not-checked": drift.unread, "busy": drift.busy}
        yield "ispagent_drift_services", "gauge", "Services and CPE of the last drift round.", _by("result", counts)
        yield (
            "ispagent_drift_round_timestamp_seconds",
            "gauge",
            "When the last drift round ended, unix seconds.",
            [({}, float(drift.ended_s))],
        )
    if (lines := o.lines) is not None:
        yield from _lines(lines, o.now_s)
    yield "ispagent_log_leaves_total", "counter", "Entries of the audit log.", [({}, o.log_size)]
    yield "ispagent_state_bytes", "gauge", "Size of the agent's own files.", [({}, o.files)]
    yield "ispagent_disk_free_bytes", "gauge", "Space left where they are.", [({}, o.disk_free)]
    yield "ispagent_disk_size_bytes", "gauge", "Size of that file system.", [({}, o.disk_size)]
    yield (
        "ispagent_loop_lag_seconds",
        "gauge",
        "How late the event loop was at most in the last minute.",
        [({}, o.lag_s)],
    )


def _lines(view: OutageView, now_s: float) -> Iterator[tuple[str, str, str, Iterable[_Sample]]]:
    """Yield the metrics of polled devices and outages. Labels name devices, never their parts, which name people."""
    known = view.devices.values()
    yield (
        "ispagent_line_parts",
        "gauge",
        "Ports, radios, clients, PON ports and ONUs by their state.",
        [({"kind": kind, "state": state}, float(n)) for (kind, state), n in sorted(view.parts.items())],
    )
    yield (
        "ispagent_line_devices",
        "gauge",
        "Devices by whether they answer.",
        _by(
            "state",
            {
                "silent": sum(one.silent for one in known),
                "unread": sum(one.refuses for one in known),
                "answers": sum(not one.silent and not one.refuses for one in known),
            },
        ),
    )
    yield (
        "ispagent_line_device_silent",
        "gauge",
        "1 for a device that is unreachable, or asked with a wrong secret.",
        [({"device": one.target}, float(one.silent)) for one in known],
    )
    yield (
        "ispagent_line_reading_age_seconds",
        "gauge",
        "How old the last reading of a device is; absent before the first.",
        [({"device": one.target}, max(now_s - one.read_s, 0.0)) for one in known if one.read_s],
    )
    causes = {kind.value: sum(cause.kind is kind for cause in view.causes) for kind in CauseKind}
    yield "ispagent_line_outages", "gauge", "Causes of outages by their kind.", _by("kind", causes)
    yield (
        "ispagent_line_services",
        "gauge",
        "Services by what is known of their line, and those that an outage cuts off.",
        _by("line", {"known": view.found, "shared-part": view.behind, "all": view.services, "cut-off": len(view.cut)}),
    )


def _by(label: str, counts: Mapping[str, int]) -> list[_Sample]:
    return [({label: name}, float(n)) for name, n in sorted(counts.items())]


def _family(name: str, kind: str, doc: str, samples: Iterable[_Sample]) -> str:
    lines = [f"# HELP {name} {doc}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class Monitor:
    """The application that answers monitoring: `/metrics` and `/health`."""

    def __init__(self, parts: Callable[[], ApiParts]) -> None:
        """Take how the parts of the API are got."""
        self._parts = parts

    async def __call__(self, request: HttpRequest) -> Response | TextResponse:
        """Answer one request.

        Raises:
            HttpError: another path, or another method than GET.
        """
        if request.method != "GET":
            raise HttpError(405, HttpReason.METHOD, "only GET is offered here")
        match request.path:
            case "/metrics":
                return TextResponse(200, exposition(overview(self._parts())), CONTENT_TYPE)
            case "/health":
                found = overview(self._parts())
                status = 200 if found.condition is Condition.FINE else 503
                return Response(status, {"condition": found.condition.value, "problems": list(found.problems)})
            case _:
                raise HttpError(404, HttpReason.NO_ROUTE, "there are /metrics and /health")
