"""Routes of the operator's devices."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from agent.api.call import ApiCall, CallerRole, Route, asked_moment
from agent.api.lines import device_lines
from agent.connectors.base import DeviceReport, Question
from agent.inventory import book
from agent.polling.series import SENSOR_VALUE
from agent.polling.series_sql import DAY_S
from agent.reasons import HttpReason, MethodReason
from agent.runtime.errors import HttpError
from agent.runtime.http import Response, StreamResponse
from agent.services.readiness import Readiness, ReadinessReader
from trust.moments import moment_json, moments_json

WORD_BYTES: Final = 262_144
"""One word of a question by hand: a profile that is tried is one."""
PREPARED: Final = frozenset({MethodReason.NO_SUCH_PROFILE, MethodReason.NO_LIST, MethodReason.LIST_WITHOUT_RULE})
"""Refusals of a suspension that a preparation of the device may mend."""


async def _list_devices(call: ApiCall) -> Response:
    now_s = call.parts.clock.wall_s()
    return Response(200, [_device(report, now_s) for report in call.parts.devices.reports()])


async def _show(call: ApiCall) -> Response:
    return Response(200, _with_sensors(call, _named(call, call.values[0])))


async def _series(call: ApiCall) -> Response:
    """Return the series of a device with their newest values, or the points of one: `of`, `name`, `since`, `until`."""
    target, series, query = _named(call, call.values[0]).target, call.parts.series, call.request.query
    if not (of := query.get("of", "")):
        newest, read_s = series.newest(target)
        last = {(one.key, one.name): one.value for one in newest}
        every = [(key, name) for key, names in series.names(target).items() for name in names]
        shown = [{"of": key, "name": name, "value": last.get((key, name))} for key, name in every]
        return Response(200, {"read_at": moment_json(read_s), "series": shown})
    name = query.get("name", SENSOR_VALUE)
    known = series.names(target).get(of, ())
    if name not in known:
        wanted = f"expected one of {', '.join(known)}" if known else f"there is no series of {of[:100]!r}"
        raise HttpError(404, HttpReason.UNKNOWN_DEVICE, f"{target}: {wanted}, got {name[:40]!r}")
    since, until = (asked_moment(query, name) for name in ("since", "until"))
    until_s = int(call.parts.clock.wall_s()) + 1 if until is None else until
    since_s = max(until_s - DAY_S, 0) if since is None else since
    if since_s >= until_s:
        raise HttpError(400, HttpReason.BAD_REQUEST, "since: expected a moment before until, got one at or after it")
    step_s, points = await series.read(target, of, name, since_s, until_s)
    unit = next((sensor.unit for sensor in call.parts.poller.newest(target)[0] if sensor.key == of), "")
    told = [moments_json(asdict(point), at_s="at") for point in points]
    return Response(200, {"step_s": step_s, "unit": unit, "points": told})


async def _probe(call: ApiCall) -> Response:
    call.body().done()
    target = _named(call, call.values[0]).target
    if await call.parts.poller.poll_now(target):
        found = _named(call, target)
    else:
        found = await call.parts.devices.probe(target)
    return Response(200, _with_sensors(call, found))


async def _neighbors(call: ApiCall) -> Response:
    found = await call.parts.devices.neighbors(_named(call, call.values[0]).target)
    return Response(200, [asdict(one) for one in found])


async def _explore(call: ApiCall) -> StreamResponse:
    """Ask devices by hand, as a connector's own commands do: a line for each row, then `end` or `error`."""
    r = call.body()
    verb, target = r.text("verb"), r.text("target")
    words, options = r.texts("words", WORD_BYTES), r.text_map("options")
    r.done()
    question = Question(verb, target, tuple(words), options)
    return StreamResponse(call.parts.explorer.start(call.values[0], question))


async def _readiness(call: ApiCall) -> Response:
    """Return how the access methods stand on each device, or on the named one; all is read now, nothing is written."""
    name = call.request.query.get("device", "")
    target, p = _named(call, name).target if name else "", call.parts
    reader = ReadinessReader(p.intake.previewer.network, p.clock)
    found = await reader.read(book.services(p.store.reader).values(), target)
    lacking = {one.device for one in found if any(trial.code in PREPARED for trial in one.trials)}
    advice = await p.preparer.advices(lacking)
    return Response(200, [_ready(one, advice.get(one.device, "")) for one in found])


def _ready(one: Readiness, advice: str) -> dict[str, object]:
    """Return how a method stands on a device. `advice`: of a preparation of the device."""
    return {
        "prepare": advice if any(trial.code in PREPARED for trial in one.trials) else "",
        "device": one.device.partition("/")[2],
        "method": one.method,
        "state": one.state.value,
        "services": one.services,
        "trials": [{**asdict(trial), "state": trial.state.value} for trial in one.trials],
    }


def _with_sensors(call: ApiCall, report: DeviceReport) -> dict[str, object]:
    """Return a device with the newest of its values, and its parts."""
    now_s = call.parts.clock.wall_s()
    sensors, read_s = call.parts.poller.newest(report.target)
    age_s = max(int(now_s) - read_s, 0)
    told = [{**asdict(one), "age_s": age_s} for one in sensors]
    return {**_device(report, now_s), "sensors": told, "lines": device_lines(call, report.target)}


def _named(call: ApiCall, name: str) -> DeviceReport:
    found = call.parts.devices.find(name)
    if found is None:
        known = ", ".join(report.name for report in call.parts.devices.reports()) or "none"
        raise HttpError(404, HttpReason.UNKNOWN_DEVICE, f"there is no device {name[:40]!r}; configured: {known}")
    return found


def _device(report: DeviceReport, now_s: float) -> dict[str, object]:
    return {
        "name": report.name,
        **moments_json(asdict(report), tried_s="tried_at", read_s="read_at"),
        "state": report.state.value,
        "age_s": None if report.read_s is None else max(int(now_s) - report.read_s, 0),
    }


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/devices", CallerRole.OPERATOR, "", "devices", _list_devices),
    Route("GET", "/v1/devices/{name}", CallerRole.OPERATOR, "", "the device, as last read", _show),
    Route("GET", "/v1/devices/{name}/series", CallerRole.OPERATOR, "", "series, or the points of one", _series),
    Route("GET", "/v1/devices/{name}/neighbors", CallerRole.OPERATOR, "", "devices that it hears now", _neighbors),
    Route("POST", "/v1/explore/{connector}", CallerRole.OPERATOR, "verb, target, words, options", "rows", _explore),
    Route("GET", "/v1/readiness", CallerRole.OPERATOR, "", "device, method, state, services, trials", _readiness),
    Route("POST", "/v1/devices/{name}/probe", CallerRole.OPERATOR, "", "the device, as read now", _probe),
)
