"""The connections to one router, against the lab's: whose they are, what our users may, and when it is left alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from agent.connectors.base import DeviceReport, DeviceState, NotSentError, Session, UnreadableError
from agent.connectors.routeros.carrier_session import Carrier
from agent.connectors.routeros.carrier_session import Endpoint as RouterEndpoint
from agent.connectors.routeros.connector import RouterosConnector
from agent.connectors.routeros.errors import UnreachableRouterError
from agent.connectors.routeros.limits import CONNECTING_MAX
from agent.connectors.routeros.schema import RouterosConfig, RouterTarget
from agent.line_model.reading import Neighbor
from agent.model import ABSENT, Absent, Address, Direction, Seen, Target, Ticket, Transition, Value
from agent.runtime.clock import SystemClock
from lab.router.device import Router
from lab.router.server import Endpoint, serve
from lab.tests.router.routers import logged_in

SECRET = Address("routeros/edge-1/ppp/secret/amina.h")
PASSWORDS = {"svc": b"service-password", "ro": b"reader-password", "cfg": b"config-password"}
GROUPS = {"svc": "read,write,api", "ro": "read,api", "cfg": "read,write,api,test"}


class CountingRouter(Router):
    """A router that counts the logins that were tried, by user."""

    def __init__(self, *args: str, **more: str) -> None:
        self.logins: Counter[str] = Counter()
        super().__init__(*args, **more)  # type: ignore[arg-type]  # passed on as they are

    def password(self, name: str) -> str:
        self.logins[name] += 1
        return super().password(name)


def make_router(version: str = "7.20.8") -> CountingRouter:
    router = CountingRouter(version)
    router.add("/ppp/profile", name="home20")
    router.add("/ppp/profile", name="suspended", address_list="suspended")
    router.add("/ppp/secret", name="amina.h", password="wonder", profile="home20")
    for name, policy in GROUPS.items():
        router.add("/user/group", name=f"g-{name}", policy=policy)
        router.add("/user", name=name, password=PASSWORDS[name].decode(), group=f"g-{name}")
    router.set("/ip/service", "api-ssl", address="127.0.0.1/32")
    router.set("/ip/service", "api", disabled="yes")
    router.set("/system/ntp/client", enabled="yes")
    return router


@dataclass
class Site:
    """A router, and the agent's way to it. `passwords`: the vault, which a test may change."""

    router: CountingRouter
    connector: RouterosConnector
    session: Session
    passwords: dict[str, bytes] = field(default_factory=dict)

    async def read(self) -> Value:
        return (await self.session.read([SECRET]))[SECRET].value

    async def write(self, **after: str) -> None:
        before = await self.read()
        assert not isinstance(before, Absent)
        do = (Transition(SECRET, Seen(before, 0), {**before, **after}),)
        await self.session.send(Ticket("0" * 32, 1, 1, Direction.FORWARD, 1, "routeros/edge-1", do, {}, float("inf")))

    async def probe(self) -> DeviceReport:
        return await self.connector.probe("routeros/edge-1")

    @property
    def report(self) -> DeviceReport:
        (found,) = self.connector.reports()
        return found

    async def reboot(self) -> None:
        """Have the router restart, and return when the agent has noticed."""
        (line,) = self.connector._lines.values()
        self.router.reboot()
        until = time.monotonic() + 60
        while any(wire.usable for wire in line._wires.values()):
            assert time.monotonic() < until
            await trio.lowlevel.checkpoint()  # not a sleep: trio's clock may stand still

    def online(self) -> Counter[str]:
        return Counter(row["name"] for row in self.router.rows("/user/active"))


READ_APART = {"read_user": "ro", "read_secret": "ro"}
CONFIG_APART = {"config_user": "cfg", "config_secret": "cfg"}


@asynccontextmanager
async def site(router: CountingRouter | None = None, **config: str | bytes | float) -> AsyncIterator[Site]:
    router = router or make_router()
    async with trio.open_nursery() as nursery:
        endpoint: Endpoint = await nursery.start(partial(serve, router, tls=True))
        fingerprint = bytes.fromhex(endpoint.fingerprint)
        target = RouterTarget("edge-1", endpoint.host, endpoint.port, "svc", "svc", fingerprint, serial="HFG09ABCDEF")
        target = replace(target, timeout_s=20.0)
        target = replace(target, **config)  # type: ignore[arg-type]  # the test names keys of it
        passwords = dict(PASSWORDS)

        def secret(name: str) -> bytes:
            if name not in passwords:
                raise UnreadableError(f"secret {name} is not set", reason="missing-secret")
            return passwords[name]

        made = RouterosConnector(RouterosConfig((target,)), secret, lambda label, value: "0" * 64, clock=SystemClock())
        async with made.dial(made.targets[0]) as session:
            yield Site(router, made, session, passwords)
        nursery.cancel_scope.cancel()


def codes(report: DeviceReport) -> list[str]:
    return [finding.code for finding in report.findings]


# --- whose connection it is ---


async def test_one_user_has_one_connection() -> None:
    async with site() as s:
        assert s.router.logins == {}  # nothing is opened before it is needed
        await s.write(profile="suspended")
        assert s.online() == {"svc": 1}
        assert s.router.logins == {"svc": 1}


async def test_reads_and_writes_go_over_connections_of_their_own() -> None:
    async with site(**READ_APART) as s:
        await s.read()
        assert s.online() == {"ro": 1}
        await s.write(profile="suspended")
        await s.write(profile="home20")
        assert s.online() == {"ro": 1, "svc": 1}
        history = [row["by"] for row in s.router.rows("/system/history") if "secret" in row["action"]]
        assert history == ["svc", "svc"]


async def test_the_look_just_before_a_write_is_the_writers() -> None:
    """What may be seen of a row is a matter of policies: it is compared as the same user sees it that writes it."""
    router = make_router()
    async with site(router, **READ_APART) as s:
        await s.write(profile="suspended")
        seen: list[str] = []
        router.faults.inject("drift", match="/ppp/secret/print", times=9, drift=lambda r: seen.append("looked"))
        router.faults.inject("trap:not enough permissions (9)", match="/ppp/secret/set", times=1)
        await s.write(profile="home20")
        assert len(seen) == 2  # the read of the test, and the look


# --- what the users may ---


async def test_a_user_who_may_not_write_is_refused_beforehand() -> None:
    router = make_router()
    router.set("/user/group", "g-svc", policy="read,api")
    async with site(router) as s:
        assert await s.read() is not ABSENT
        with pytest.raises(NotSentError, match=r"user svc \(group g-svc\) lacks policy write") as caught:
            await s.write(profile="suspended")
        assert caught.value.reason == "missing-policy"
        (note,) = s.session.notes()
        assert note.startswith("routeros/edge-1: user svc (group g-svc) lacks policy write")
        assert note.endswith("it would not be applied")
        assert codes(s.report) == ["service-policies-missing"]
        assert [r for r in router.rows("/system/history") if "secret" in r["action"]] == []
        router.set("/user/group", "g-svc", policy="read,write,api")
        await s.write(profile="suspended")  # put right on the router: nobody has to tell the agent
        assert codes(s.report) == []
        assert router.logins == {"svc": 1}


@pytest.mark.parametrize("which", ["g-svc", "g-ro"])
async def test_users_who_see_passwords_differently_are_no_drift(which: str) -> None:
    router = make_router()
    router.set("/user/group", which, policy=f"{GROUPS[which.removeprefix('g-')]},sensitive")
    async with site(router, **READ_APART) as s:
        with pytest.raises(NotSentError, match=f"take policy sensitive from group {which}") as caught:
            await s.write(profile="suspended")
        assert caught.value.reason == "missing-policy"
        assert f"{which.removeprefix('g-')} sees passwords" in s.session.notes()[0]
        assert "users-see-unlike" in codes(s.report)
        router.set("/user/group", which, policy=f"{GROUPS[which.removeprefix('g-')]},!sensitive")
        await s.write(profile="suspended")
        assert codes(s.report) == []


async def test_users_that_both_see_passwords_are_fine() -> None:
    router = make_router()
    for name, policy in GROUPS.items():
        router.set("/user/group", f"g-{name}", policy=f"{policy},sensitive")
    async with site(router, **READ_APART) as s:
        await s.write(profile="suspended")
        assert codes(s.report) == ["read-policies-superfluous", "service-policies-superfluous"]


async def test_a_user_who_may_not_read_is_told_so() -> None:
    router = make_router()
    router.set("/user/group", "g-svc", policy="write,api")
    async with site(router) as s:
        with pytest.raises(UnreadableError, match="policy read is missing"):
            await s.read()
        assert s.report.state is DeviceState.REFUSED


async def test_what_a_user_may_too_much_is_a_finding_and_no_refusal() -> None:
    router = make_router()
    router.set("/user/group", "g-svc", policy="read,write,api,policy,ftp,reboot")
    async with site(router) as s:
        await s.write(profile="suspended")
        (finding,) = s.report.findings
        assert finding.code == "service-policies-superfluous"
        assert finding.text == "user svc (group g-svc) may more than it needs: ftp, policy, reboot"


# --- what is known ---


async def test_before_it_is_needed_nothing_is_known() -> None:
    async with site() as s:
        assert (s.report.state, s.report.read_s, s.report.findings) == (DeviceState.NOT_ASKED, None, ())
        assert s.report.address.startswith("127.0.0.1:")


async def test_what_changes_need_is_kept_for_people() -> None:
    async with site() as s:
        await s.read()
        found = s.report
        assert (found.state, found.version, found.identity) == (DeviceState.REACHABLE, "7.20.8", "edge-1")
        assert found.facts["serial"] == "HFG09ABCDEF"
        assert found.findings == ()


async def test_a_probe_asks_anew_on_the_same_connection() -> None:
    async with site(**READ_APART) as s:
        await s.read()
        s.router.cpu_load = 91
        assert s.report.facts["cpu"] == "7 %"  # as it was read
        found = await s.probe()
        assert found.facts["cpu"] == "91 %"
        assert codes(found) == ["cpu"]
        assert s.router.logins == {"ro": 1, "svc": 1}
        await s.probe()
        assert s.router.logins == {"ro": 1, "svc": 1}


async def test_the_neighbors_of_a_router() -> None:
    async with site(**READ_APART) as s:
        s.router.add("/ip/neighbor", interface="ether3", identity="edge-9", platform="MikroTik", version="7.20.8")
        s.router.add(
            "/ip/neighbor", interface="ether4", address="10.0.0.9", identity="Tower\x1b[2J", mac_address="02AA"
        )
        found = await s.connector.neighbors("routeros/edge-1")
        assert found[0] == Neighbor("edge-9", "", "ether3", "MikroTik", "7.20.8", "")
        assert (found[1].address, "\x1b" in found[1].identity) == ("10.0.0.9", False)
        assert s.router.logins == {"ro": 1}
        with pytest.raises(UnreadableError, match="is dialed"):
            await s.connector.neighbors("routeros/edge-7")


async def test_probe_checks_config_user_and_lets_go_of_its_session() -> None:
    async with site(**READ_APART, **CONFIG_APART) as s:
        found = await s.probe()
        assert found.facts["config user"] == "cfg (group g-cfg): api, read, test, write"
        assert found.findings == ()
        await until_online(s, {"ro": 1, "svc": 1})
        s.passwords["cfg"] = b"another"
        found = await s.probe()
        assert found.state is DeviceState.REACHABLE
        (finding,) = found.findings
        assert finding.code == "config-login"
        assert finding.text.startswith("user cfg: routeros/edge-1: login: invalid user name or password")


async def until_online(s: Site, wanted: dict[str, int]) -> None:
    with trio.fail_after(60):
        while s.online() != wanted:  # noqa: ASYNC110  the lab's router tells nobody
            await trio.sleep(0.01)


async def test_a_probe_writes_nothing() -> None:
    router = make_router()
    written: list[str] = []
    router.store.watchers.append(lambda path, row, event: written.append(f"{event} {path}"))
    async with site(router, **READ_APART, **CONFIG_APART) as s:
        await s.probe()
        await until_online(s, {"ro": 1, "svc": 1})
    ours = ("/user/active", "/ip/firewall/connection")  # the API sessions themselves
    assert {entry for entry in written if not entry.endswith(ours)} == set()


async def test_a_probe_of_an_absent_router_tells_what_was_known() -> None:
    async with site(**READ_APART) as s:
        await s.read()
        s.router.down_s = 60
        await s.reboot()
        found = await s.probe()
        assert found.state is DeviceState.UNREACHABLE
        assert "perhaps too many API sessions (max-sessions 20): " in found.problem
        assert found.facts["serial"] == "HFG09ABCDEF"  # from before


@pytest.mark.parametrize("fault", ["cut-before", "cut-after"])
async def test_a_connection_that_breaks_when_recognized_is_made_anew(fault: str) -> None:
    router = make_router()
    router.faults.inject(fault, match="/system/resource/print")
    async with site(router) as s:
        with pytest.raises(UnreadableError) as caught:
            await s.read()
        assert caught.value.reason == "unreachable"
        assert s.report.state is DeviceState.UNREACHABLE
        assert await s.read() is not ABSENT
        assert s.report.state is DeviceState.REACHABLE


async def test_giving_up_while_recognizing_leaves_no_session() -> None:
    router = make_router()
    router.faults.inject("slow:0.5", match="/system/resource/print")
    async with site(router) as s:
        with trio.move_on_after(0.2) as scope:
            await s.read()
        assert scope.cancelled_caught
        await until_online(s, {})
        assert await s.read() is not ABSENT
        assert s.online() == {"svc": 1}


async def test_what_says_no_version_is_no_router_of_ours() -> None:
    router = make_router()
    router.version = "nonsense"
    async with site(router) as s:
        with pytest.raises(UnreadableError, match="expected a version such as") as caught:
            await s.read()
        assert caught.value.reason == "refused"


async def test_probe_sees_that_router_on_open_connection_is_another() -> None:
    async with site() as s:
        await s.read()
        s.router.serial = "OTHER"
        assert (await s.probe()).state is DeviceState.REFUSED
        await until_online(s, {})
        s.router.serial = "HFG09ABCDEF"
        assert (await s.probe()).state is DeviceState.REACHABLE


async def test_a_menu_that_does_not_answer_in_time_is_left_out() -> None:
    router = make_router()
    router.faults.inject("slow:4", match="/radius/incoming/print")
    router.faults.inject("trap:no such command prefix", match="/system/device-mode/print")
    async with site(router, timeout_s=3.0) as s:
        assert await s.read() is not ABSENT
        assert "device-mode" not in s.report.facts
        assert s.report.facts["radius"] == "PPP logins by secrets only"
        assert s.report.state is DeviceState.REACHABLE


async def test_a_target_that_is_not_dialed_cannot_be_probed() -> None:
    async with site() as s:
        with pytest.raises(UnreadableError, match="no target routeros/edge-9 is dialed"):
            await s.connector.probe("routeros/edge-9")


@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.24"])
async def test_every_release_is_examined(version: str) -> None:
    async with site(make_router(version)) as s:
        found = await s.probe()
        assert (found.state, codes(found)) == (DeviceState.REACHABLE, [])
        assert found.facts["clock"].partition(", ")[2].startswith(("+0 s", "-0 s", "+1 s", "-1 s"))
        assert found.facts["api sessions"].startswith("1 in use")


async def test_the_routers_clock_is_read_in_its_own_zone() -> None:
    router = make_router()
    router.gmt_offset = "-03:30"
    async with site(router) as s:
        assert codes(await s.probe()) == []
        router.clock_off_s = -125
        assert codes(await s.probe()) == ["clock"]


# --- which router it is ---


async def test_another_router_is_refused_until_a_person_looks() -> None:
    """Without a configured serial too: what was read of one router must not be written to another."""
    async with site(serial="") as s:
        await s.read()
        s.router.serial, s.router.software_id = "OTHER", "OTHE-R000"
        await s.reboot()
        with pytest.raises(
            UnreadableError, match=r"another router answers than before \(OTHE-R000, OTHER, not"
        ) as caught:
            await s.read()
        assert caught.value.reason == "refused"
        found = await s.probe()
        assert (found.state, found.facts["serial"]) == (DeviceState.REACHABLE, "OTHER")
        assert await s.read() is not ABSENT


async def test_P23_an_upgraded_router_is_read_by_its_new_tables() -> None:
    """What was read before the upgrade is the precondition still, and the write goes by the new release."""
    async with site(make_router("7.15.3")) as s:
        before = await s.read()
        s.router.version = "7.20.8"
        await s.reboot()
        assert await s.read() == before
        assert s.report.facts["version"].startswith("7.20.8")
        await s.write(profile="suspended")
        assert s.router.rows("/ppp/secret")[0]["profile"] == "suspended"


async def test_P15_two_routers_behind_one_address_are_not_mixed() -> None:
    """Read from one and written to the other: VRRP, or a port forward that somebody changed."""
    async with site(serial="", **READ_APART) as s:
        await s.read()
        s.router.serial, s.router.software_id = "OTHER", "OTHE-R000"
        with pytest.raises(NotSentError, match="another router answers than before"):
            await s.write(profile="suspended")
        assert s.router.rows("/ppp/secret")[0]["profile"] == "home20"


async def test_person_cannot_wave_through_what_configuration_excludes() -> None:
    async with site() as s:
        await s.read()
        s.router.serial = "OTHER"
        await s.reboot()
        found = await s.probe()
        assert found.state is DeviceState.REFUSED
        assert "none of its serial numbers is the configured one" in found.problem


async def test_an_identity_is_certificate_and_serial() -> None:
    async with site() as s:
        (target,) = s.connector.targets
        assert target.identity[32:] == b"HFG09ABCDEF"
        assert len(target.identity[:32]) == 32


# --- leaving it in peace ---


async def test_those_who_wait_for_router_that_says_nothing_wait_once() -> None:
    came: list[object] = []

    async def say_nothing(stream: trio.SocketStream) -> None:
        came.append(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, say_nothing, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with site(port=port, insecure=True, fingerprint=b"", timeout_s=0.3) as s:
            errors: list[str] = []

            async def read() -> None:
                try:
                    await s.read()
                except UnreadableError as err:
                    errors.append(str(err))

            async with trio.open_nursery() as readers:
                for _ in range(5):
                    readers.start_soon(read)
            assert (len(errors), len(came)) == (5, 1)
            assert s.report.state is DeviceState.UNREACHABLE
            await read()  # who comes later tries again
            assert len(came) == 2
        nursery.cancel_scope.cancel()


async def test_a_refused_login_is_not_repeated_at_once(mock_clock: MockClock) -> None:
    async with site() as s:
        s.passwords["svc"] = b"wrong"
        for _ in range(5):
            with pytest.raises(UnreadableError, match="invalid user name or password"):
                await s.read()
        assert s.router.logins == {"svc": 1}
        with pytest.raises(UnreadableError, match=r"next attempt in 60 s") as caught:
            await s.read()
        assert caught.value.reason == "refused"
        mock_clock.jump(61)
        with pytest.raises(UnreadableError):
            await s.read()
        assert s.router.logins == {"svc": 2}
        s.passwords["svc"] = PASSWORDS["svc"]  # ispagent secret set
        assert await s.read() is not ABSENT


async def test_a_person_who_probes_waits_for_nothing(mock_clock: MockClock) -> None:
    async with site() as s:
        s.router.set("/user", "svc", disabled="yes")
        with pytest.raises(UnreadableError):
            await s.read()
        s.router.set("/user", "svc", disabled="no")
        with pytest.raises(UnreadableError, match="next attempt in"):
            await s.read()
        assert (await s.probe()).state is DeviceState.REACHABLE
        assert await s.read() is not ABSENT


@pytest.mark.assumed("routeros-sessions-exhausted")
async def test_a_router_without_a_session_left_is_not_hammered(mock_clock: MockClock) -> None:
    async with site() as s:
        await s.read()
        tried = 0
        connect = s.router.connect

        def counting() -> bool:
            nonlocal tried
            tried += 1
            return connect()

        s.router.connect = counting  # type: ignore[method-assign]  # it counts what the agent tries
        s.router.faults.inject("max-sessions")
        await s.reboot()
        for _ in range(10):
            with pytest.raises(UnreadableError, match=r"too many API sessions \(max-sessions 20\)"):
                await s.read()
        assert tried == 1
        for n, pause in enumerate((1, 2, 4, 8, 16, 32, 60, 60), start=2):
            mock_clock.jump(pause)
            for _ in range(3):
                with pytest.raises(UnreadableError):
                    await s.read()
            assert tried == n
        s.router.faults.clear()
        mock_clock.jump(60)
        assert await s.read() is not ABSENT


async def test_a_router_refused_is_not_logged_in_to_again_and_again(mock_clock: MockClock) -> None:
    async with site(serial="OTHER") as s:
        for _ in range(5):
            with pytest.raises(UnreadableError, match="another router answers"):
                await s.read()
        assert s.router.logins == {"svc": 1}


async def test_a_password_that_is_not_set_is_said() -> None:
    async with site() as s:
        password = s.passwords.pop("svc")
        with pytest.raises(UnreadableError, match="secret svc is not set") as caught:
            await s.read()
        assert caught.value.reason == "missing-secret"
        assert s.report.state is DeviceState.REFUSED
        s.passwords["svc"] = password
        assert await s.read() is not ABSENT


async def test_a_busy_cpu_holds_changes_and_no_reads(mock_clock: MockClock) -> None:
    async with site() as s:
        await s.read()
        assert await s.session.busy() is None
        s.router.cpu_load = 93
        assert await s.session.busy() is None  # as it was read a moment ago
        mock_clock.jump(6)
        busy = await s.session.busy()
        assert busy is not None
        assert (busy.reason, busy.detail) == (
            "busy-cpu",
            "routeros/edge-1: CPU at 93 %, changes wait while it is 80 % or more",
        )
        assert await s.read() is not ABSENT
        for load, is_busy in ((79, False), (80, True), (100, True), (0, False)):
            s.router.cpu_load = load
            mock_clock.jump(6)
            assert (await s.session.busy() is not None) == is_busy


async def test_a_cpu_that_cannot_be_asked_is_not_busy(mock_clock: MockClock) -> None:
    async with site() as s:
        await s.read()
        s.router.cpu_load = 100
        mock_clock.jump(6)
        s.router.faults.inject("cut-before", match="/system/resource/print")
        assert await s.session.busy() is None


async def test_the_cpu_is_asked_once_for_all_who_want_to_write(mock_clock: MockClock) -> None:
    asked: list[object] = []
    async with site() as s:
        await s.read()
        s.router.faults.inject("drift", match="/system/resource/print", times=99, drift=asked.append)
        mock_clock.jump(6)
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(s.session.busy)
        assert len(asked) == 1


async def test_P10_changes_wait_while_a_colleagues_safe_mode_is_open(mock_clock: MockClock) -> None:
    """Our write would be undone when he leaves, and a hundred of ours would put his safe mode out of force."""
    router = make_router()
    joe = logged_in(router)
    joe.ask("/safe-mode/take")
    joe.ask("/ip/dns/set", "=servers=192.0.2.53")
    async with site(router) as s:
        await s.read()
        busy = await s.session.busy()
        assert busy is not None
        assert (busy.reason, "a safe mode is open (changes by admin)" in busy.detail) == ("safe-mode", True)
        joe.ask("/safe-mode/release")
        mock_clock.jump(6)
        assert await s.session.busy() is None
    joe.ask("/safe-mode/take")
    async with site(router, wait_for_safe_mode=False) as s:
        await s.read()
        assert await s.session.busy() is None


async def test_without_a_limit_or_a_connection_the_cpu_is_not_asked() -> None:
    router = make_router()
    router.cpu_load = 100
    async with site(router, cpu_limit=0) as s:
        await s.read()
        assert await s.session.busy() is None
    router = make_router()
    async with site(router) as s:
        assert await s.session.busy() is None
        assert router.logins == {}


async def test_many_routers_are_connected_to_a_few_at_a_time(autojump_clock: MockClock) -> None:
    """Of 500 at once, 70 had no session within their time: handshakes cost our one core."""
    routers = [RouterTarget(f"r{n}", "192.0.2.1", 8728, "ispagents", "api", insecure=True) for n in range(60)]
    now, most, at = 0, 0, list[float]()

    async def reach(_: RouterEndpoint) -> Carrier:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await trio.sleep(1)
        now -= 1
        at.append(trio.current_time())
        raise UnreachableRouterError("the port is closed", reason="refused")

    made = RouterosConnector(
        RouterosConfig(tuple(routers), ()), lambda _: b"x", lambda *_: "0" * 64, clock=SystemClock(), reach=reach
    )

    async def ask(target: Target) -> None:
        async with made.dial(target) as session:
            with pytest.raises(UnreadableError, match="the port is closed"):
                await session.read([Address(f"{target.id}/ppp/secret/u0")])

    async with trio.open_nursery() as nursery:
        for target in made.targets:
            nursery.start_soon(ask, target)
    assert (len(at), most) == (60, CONNECTING_MAX)
