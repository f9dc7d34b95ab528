"""Routes of the operator's devices."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from agent.api.call import ApiCall, CallerRole, Route
from agent.connectors.base import DeviceReport
from agent.inventory import book
from agent.polling import samples
from agent.reasons import HttpReason, MethodReason
from agent.runtime.errors import HttpError
from agent.runtime.http import Response
from agent.services.readiness import Readiness, ReadinessReader

PREPARED: Final = frozenset({MethodReason.NO_SUCH_PROFILE, MethodReason.NO_LIST, MethodReason.LIST_WITHOUT_RULE})
"""Refusals of a suspension that a preparation of the device may mend."""


async def _list_devices(call: ApiCall) -> Response:
    now_s = call.parts.clock.wall_s()
    return Response(200, [_device(report, now_s) for report in call.parts.devices.reports()])


async def _show(call: ApiCall) -> Response:
    return Response(200, _with_samples(call, _named(call, call.values[0])))


async def _series(call: ApiCall) -> Response:
    target, name = _named(call, call.values[0]).target, call.request.query.get("name", "")
    found = samples.series(call.parts.store, target, name)
    return Response(200, [{"value": one.value, "at_s": one.at_s} for one in found])


async def _probe(call: ApiCall) -> Response:
    call.body().done()
    found = await call.parts.devices.probe(_named(call, call.values[0]).target)
    return Response(200, _with_samples(call, found))


async def _neighbors(call: ApiCall) -> Response:
    found = await call.parts.devices.neighbors(_named(call, call.values[0]).target)
    return Response(200, [asdict(one) for one in found])


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


def _with_samples(call: ApiCall, report: DeviceReport) -> dict[str, object]:
    """Return a device with the newest of each of its polled values."""
    now_s = call.parts.clock.wall_s()
    found = samples.latest(call.parts.store, report.target)
    polled = [{"name": one.name, "value": one.value, "age_s": max(int(now_s) - one.at_s, 0)} for one in found]
    return {**_device(report, now_s), "polled": polled}


def _named(call: ApiCall, name: str) -> DeviceReport:
    found = call.parts.devices.find(name)
    if found is None:
        known = ", ".join(report.name for report in call.parts.devices.reports()) or "none"
        raise HttpError(404, HttpReason.UNKNOWN_DEVICE, f"there is no device {name[:40]!r}; configured: {known}")
    return found


def _device(report: DeviceReport, now_s: float) -> dict[str, object]:
    return {
        "name": report.name,
        **asdict(report),
        "state": report.state.value,
        "age_s": None if report.read_s is None else max(int(now_s) - report.read_s, 0),
    }


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/devices", CallerRole.OPERATOR, "", "devices", _list_devices),
    Route("GET", "/v1/devices/{name}", CallerRole.OPERATOR, "", "the device, as last read", _show),
    Route("GET", "/v1/devices/{name}/series", CallerRole.OPERATOR, "", "values of one name over time", _series),
    Route("GET", "/v1/devices/{name}/neighbors", CallerRole.OPERATOR, "", "devices that it hears now", _neighbors),
    Route("GET", "/v1/readiness", CallerRole.OPERATOR, "", "device, method, state, services, trials", _readiness),
    Route("POST", "/v1/devices/{name}/probe", CallerRole.OPERATOR, "", "the device, as read now", _probe),
)
