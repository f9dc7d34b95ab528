"""The route of outages, and lines and parts for the answers of other routes. No device is asked for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from agent.api.call import ApiCall, CallerRole, Route
from agent.lines.desk import FoundLine
from agent.lines.finding import LineCandidate
from agent.lines.known import KnownDevice, KnownPart, flaps
from agent.lines.outage import Cause, light
from agent.model import Service
from agent.runtime.http import Response
from trust.moments import moment_json, moments_json


def line_of(call: ApiCall, service: Service) -> dict[str, object] | None:
    """Return a service's line for a subscriber's page; None: no device is known, so nobody expects a line."""
    desk = call.parts.lines
    found = desk.line_of(service)
    if not found.known:
        return None
    line = found.line
    return {
        "line": None if line.line is None else _candidate(found, line.line, call),
        "candidates": [_candidate(found, one, call) for one in line.candidates],
        "behind": [_candidate(found, one, call) for one in line.behind],
        "notes": list(line.notes),
    }


def device_lines(call: ApiCall, target: str) -> dict[str, object] | None:
    """Return a device's parts and notifications for its page; None: it was never read, or the caller may not see them.

    Descriptions and serial numbers name subscribers: only people that may see subscribers get them.
    """
    if not call.may(CallerRole.VIEWER) or (found := call.parts.lines.device(target)) is None:
        return None
    device, parts, events = found
    now_s = call.parts.clock.wall_s()
    return {
        **_device(device, now_s),
        "same": [_device(one, now_s) for one in call.parts.lines.same_device(target)],
        "parts": [_part(part, device, now_s) for part in parts],
        "links": [{**asdict(one), "device": one.device.partition("/")[2]} for one in call.parts.lines.links(target)],
        "events": [{**moments_json(asdict(one), heard_s="heard_at"), "kind": one.kind.value} for one in events],
    }


async def _outage(call: ApiCall) -> Response:
    """Return the causes of outages, with counts of devices and services."""
    view = await call.parts.lines.outages()
    now_s = call.parts.clock.wall_s()
    silent = [device for device in view.devices.values() if device.silent]
    answering = (
        device for device in view.devices.values() if device.read_s and not device.silent and not device.refuses
    )
    old = [device.name for device in answering if device.old(now_s)]
    return Response(
        200,
        {
            "made_at": moment_json(view.made_s),
            "causes": [_cause(cause, view.devices, now_s) for cause in view.causes],
            "cut_off": len(view.cut),
            "services": view.services,
            "found": view.found,
            "behind": view.behind,
            "devices": len(view.devices),
            "silent": len(silent),
            "old": sorted(old),
            "rooted": view.rooted,
            "claims": len(view.claims),
            "silent_credentials": [moments_json(asdict(one), since_s="since") for one in view.silent_credentials],
            "problems": list(view.problems),
        },
    )


def _candidate(found: FoundLine, one: LineCandidate, call: ApiCall) -> dict[str, object]:
    part, now_s = one.part, call.parts.clock.wall_s()
    device = found.devices.get(part.target) or KnownDevice(part.target)
    cause = found.causes.get((part.target, part.key))
    return {
        **_part(part, device, now_s),
        "device": _device(device, now_s),
        "found_by": one.source.name.lower(),
        "how": list(one.how),
        "cause": None if cause is None else _cause(cause, found.devices, now_s),
    }


def _device(device: KnownDevice, now_s: float) -> dict[str, object]:
    return {
        "target": device.target,
        "name": device.name,
        "identity": device.identity,
        "profile": device.profile,
        "hardware": device.hardware,
        "version": device.version,
        "read_at": moment_json(device.read_s),
        "age_s": max(int(now_s) - device.read_s, 0) if device.read_s else None,
        "old": device.old(now_s),
        "unread_since": moment_json(device.unread_s),
        "answers": device.answers,
        "why": device.why,
        "source": device.source,
        "hidden_by": device.hidden_by.partition("/")[2],
        "booted_at": moment_json(device.booted_s),
        "restarts": [moment_json(at_s) for at_s in device.restarts],
        "replaced_at": moment_json(device.replaced_s),
        "replaced": device.replaced,
        "not_read": list(device.not_read),
    }


def _part(part: KnownPart, device: KnownDevice, now_s: float) -> dict[str, object]:
    read_s = part.seen_s or device.read_s
    return {
        "key": part.key,
        "kind": part.kind.value,
        "name": part.name,
        "alias": part.alias,
        "serial": part.serial,
        "state": part.state.value,
        "told": part.told,
        "since": moment_json(part.since_s),
        "since_how": part.since_how.value,
        "state_by": part.how.value,
        "gone": part.gone,
        "read_at": moment_json(read_s),
        "age_s": max(int(now_s) - read_s, 0),
        "measures": dict(part.measures),
        "usual": dict(part.usual),
        "fading": part.fading(),
        "lost": light(part),
        "before_at": moment_json(part.before_s),
        "errors": {
            name: moments_json(asdict(growth), at_s="at", since_s="since") for name, growth in part.errors.items()
        },
        "changes": flaps(part.changes, now_s),
        "parent": part.parent,
        "facts": dict(part.facts),
    }


def _cause(cause: Cause, devices: Mapping[str, KnownDevice], now_s: float) -> dict[str, object]:
    device = devices.get(cause.target)
    return {
        "kind": cause.kind.value,
        "device": cause.target.partition("/")[2],
        "target": cause.target,
        "part": None if cause.part is None else cause.part.key,
        "part_kind": None if cause.part is None else cause.part.kind.value,
        "name": "" if cause.part is None else cause.part.name,
        "alias": "" if cause.part is None else cause.part.alias,
        "since": moment_json(cause.since_s),
        "detail": cause.detail,
        "upstream": cause.upstream.partition("/")[2],
        "upstream_port": cause.upstream_port,
        "claims": [{"device": target.partition("/")[2], "port": port} for target, port in cause.claims],
        "behind": [target.partition("/")[2] for target in cause.behind],
        "parts": cause.parts,
        "of": cause.of,
        "subscribers": len(cause.services),
        "services": list(cause.services),
        "source": "" if device is None else device.source,
        "age_s": None if device is None or not device.read_s else max(int(now_s) - device.read_s, 0),
    }


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/outage", CallerRole.VIEWER, "", "causes, cut_off, services, found, devices, silent", _outage),
)
