"""What `doctor` says of targets, of a sample of services, and of the agent itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from agent.api import doctor as routes
from agent.api.call import CallerRole
from agent.changes import checkup
from agent.changes.clock_watch import ClockWatch
from agent.cli import doctor
from agent.connectors.base import AccessPlan, CannotEnforce, Check, CheckResult
from agent.inventory import book
from agent.model import Address, Seen, Service, ServiceState
from agent.reasons import MethodReason
from agent.runtime.errors import HttpError
from agent.runtime.host_state import HostState
from agent.services.readiness import Trial, TrialState
from tests.builders.agent import NOBODY, agent_in
from tests.builders.world import FakeMethod, World


def by_name(checks: list[dict[str, str]]) -> dict[tuple[str, str], dict[str, str]]:
    found = {(c["about"], c["what"]): c for c in checks}
    assert len(found) == len(checks), "each thing is told once"
    return found


async def test_all_of_it_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    world = World()
    async with agent_in(tmp_path, world) as agent:
        leaves = agent.daemon.api.parts.evidence.head()[0]
        files = sorted(p.name for p in tmp_path.iterdir())
        found = by_name((await agent.call("GET", "/v1/doctor"))["checks"])
        assert agent.daemon.api.parts.evidence.head()[0] == leaves
        assert sorted(p.name for p in tmp_path.iterdir()) == files
        assert world.writes == []
        assert found["fake/d", "login"]["result"] == "ok"
        assert found["method fake", "suspension"]["result"] == "ok"
        assert "of 5 services that were tried" in found["method fake", "suspension"]["detail"]
        assert found["billing", "file"]["result"] == "not-checked"
        for what in ("clock", "disk", "fsync"):
            assert found["agent", what]["result"] in ("ok", "warning")
        assert found["trust", "document"]["result"] == "ok"
        with pytest.raises(HttpError):
            await agent.call("GET", "/v1/doctor", uid=NOBODY)
        assert next(r for r in routes.ROUTES).role is CallerRole.OPERATOR


async def test_each_fault_has_what_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with agent_in(tmp_path, world) as agent:
        world.dead.add("fake/d")
        monkeypatch.setattr(ClockWatch, "halted", lambda self: 7200.0)
        monkeypatch.setattr(HostState, "_sync_s", lambda self: 0.5)
        found = by_name((await agent.call("GET", "/v1/doctor"))["checks"])
        assert (found["fake/d", "login"]["result"], found["fake/d", "login"]["mend"]) == ("fails", "wake it")
        assert found["method fake", "suspension"]["result"] == "not-checked"
        assert found["agent", "clock"]["mend"] == "check it, then ispagent clock accept"
        assert found["agent", "fsync"]["result"] == "warning"


async def test_a_suspension_that_would_not_hold_is_said_with_whose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = FakeMethod.plan

    def plan(
        self: FakeMethod, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]
    ) -> AccessPlan | CannotEnforce:
        if service.login == "u1":
            return CannotEnforce(MethodReason.REJECTED, "the login is rejected")
        return usual(self, wanted, service, seen)

    monkeypatch.setattr(FakeMethod, "plan", plan)
    async with agent_in(tmp_path, World()) as agent:
        found = by_name((await agent.call("GET", "/v1/doctor"))["checks"])["method fake", "suspension"]
        assert found["result"] == "warning", found
        assert "1 of 5" in found["detail"]
        assert "C-2/home" in found["detail"]
        assert found["mend"].startswith("ispagent change suspend C-2/home")


async def test_an_unread_service_hides_no_suspension_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def trials(network: object, services: Sequence[Service]) -> list[Trial]:
        first, second, *rest = (one.ref for one in services)
        return [
            Trial(first, TrialState.UNREAD, "edge-2 is away"),
            Trial(second, TrialState.REFUSED, "the login is rejected", MethodReason.REJECTED),
            *(Trial(ref, TrialState.KEPT, "pay page only") for ref in rest),
        ]

    monkeypatch.setattr(checkup, "try_suspensions", trials)
    async with agent_in(tmp_path, World()) as agent:
        found = by_name((await agent.call("GET", "/v1/doctor"))["checks"])["method fake", "suspension"]
        assert found["result"] == "warning", found
        assert "would not hold for 1 of 4 services that were tried" in found["detail"]
        assert found["detail"].endswith("1 of 5 services not read: edge-2 is away")


async def test_a_method_whose_services_are_all_suspended_is_tried_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The router's rule is gone, and nobody is active by whom that could be seen."""

    def plan(*_: object) -> CannotEnforce:
        return CannotEnforce(MethodReason.LIST_WITHOUT_RULE, "no rule drops it")

    monkeypatch.setattr(FakeMethod, "plan", plan)
    async with agent_in(tmp_path, World()) as agent:
        parts = agent.daemon.api.parts
        every = [replace(s, reasons=frozenset({"debt"})) for s in book.services(parts.store.reader).values()]
        (found,) = await parts.checkup.sample(every)
        assert (found.result, "no rule drops it" in found.detail) == (CheckResult.FAILS, True)


def test_the_command_prints_what_mends_below_each_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ok = {"about": "radius/main", "what": "login", "result": "ok", "detail": "user ispagent", "mend": ""}
    bad = {**ok, "about": "nas/bng-2", "what": "disconnect", "result": "fails", "detail": "no reply", "mend": "wake it"}
    monkeypatch.setattr(doctor, "_of_installation", lambda: ([], Path("agent.sock")))
    monkeypatch.setattr(doctor, "_of_daemon", lambda socket, guessed: [ok])
    doctor.doctor()
    assert capsys.readouterr().out == "ok           radius/main  login: user ispagent\n1 ok\n"
    monkeypatch.setattr(doctor, "_of_daemon", lambda socket, guessed: [ok, bad])
    with pytest.raises(typer.Exit) as ended:
        doctor.doctor()
    assert ended.value.exit_code == 5
    said = capsys.readouterr().out
    assert "FAILS        nas/bng-2    disconnect: no reply\n             > wake it\n" in said
    assert said.endswith("1 ok, 1 FAILS\n")


async def test_a_secret_that_was_tried_shows_at_once_in_the_status(tmp_path: Path) -> None:
    """The next look at a target that was away may be 30 s off."""
    world = World()
    async with agent_in(tmp_path, world) as agent:
        outages = agent.daemon.api.parts.outages
        outages.note("fake/d", "its password is wrong")
        assert [s["state"] for s in (await agent.call("GET", "/v1/status"))["sources"] if s["name"] == "fake/d"] == [
            "down"
        ]
        await agent.daemon.api.parts.checkup.secret("fake")
        assert [s["state"] for s in (await agent.call("GET", "/v1/status"))["sources"] if s["name"] == "fake/d"] == [
            "up"
        ]


async def test_a_secret_that_is_missing_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with agent_in(tmp_path, World()) as agent:
        parts = agent.daemon.api.parts
        monkeypatch.setattr(parts.secrets, "wanted", frozenset({"db", "nas"}))

        async def targets() -> list[Check]:
            return [Check("fake/d", "login", CheckResult.FAILS, "secret db is not set", "ispagent secret set db")]

        monkeypatch.setattr(parts.checkup, "targets", targets)
        told = [c["mend"] for c in (await agent.call("GET", "/v1/doctor"))["checks"] if "secret set" in c["mend"]]
        assert told == ["ispagent secret set db", "ispagent secret set nas"]


async def test_a_packet_that_the_unit_does_not_let_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with agent_in(tmp_path, World()) as agent:
        refused = Check("fake/d", "login", CheckResult.FAILS, "cannot be reached: Operation not permitted", "start it")
        away = replace(refused, detail="cannot be reached: No route to host")

        async def targets() -> list[Check]:
            return [refused, away]

        monkeypatch.setattr(agent.daemon.api.parts.checkup, "targets", targets)
        mends = [c["mend"] for c in (await agent.call("GET", "/v1/doctor"))["checks"] if c["about"] == "fake/d"]
        assert mends[0].startswith("systemctl edit ispagent: [Service] IPAddressAllow=")
        assert mends[1] == "start it"
