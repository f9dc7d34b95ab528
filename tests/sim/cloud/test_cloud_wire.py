"""The wire without gRPC tells no lies: what tests of the control plane say of a real server holds on it too.

Each case is a test of `tests/control_plane` that runs there on `ispcloud serve` over gRPC and TLS, or one of this
module, which runs on both.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Self
from unittest import mock

import grpc
import pytest
import trio

from control_plane import config
from control_plane.clock import CloudClock
from control_plane.config import DataDir
from protos import channel as channels
from protos import message_pb2 as pb
from protos.agent_pb2_grpc import AgentCloudStub
from protos.desk_pb2 import ListRequest
from tests.builders.clock import virtual_clock
from tests.control_plane import cloud as clouds
from tests.control_plane import test_server, test_service
from tests.control_plane.cloud import Cloud, Member, Site, message, submit
from tests.sim.cloud import program
from tests.sim.cloud.host import CloudHost, leaf_of, without_grpc
from tests.sim.cloud.wire import Wire

T: Final = 15.0
Case = Callable[[Site], object]


# --- cases of this module ---------------------------------------------------------------------------------------------


def _failure(act: Callable[[], object]) -> channels.CallFailure:
    with pytest.raises(grpc.RpcError) as caught:
        act()
    return channels.failure_of_untrusted(caught.value)


def _events(stream: Iterator[pb.WatchEvent]) -> list[str | None]:
    return [event.WhichOneof("event") for event in stream]


def a_stream_ends_at_its_deadline(site: Site) -> object:
    stream = site.agent().Watch(pb.WatchRequest(), timeout=0.5)
    assert next(stream).WhichOneof("event") == "hello"
    failure = _failure(lambda: next(stream))
    return failure.status, failure.unreachable


def a_stream_that_is_cancelled_says_so(site: Site) -> object:
    stream = site.agent().Watch(pb.WatchRequest(), timeout=T)
    assert next(stream).WhichOneof("event") == "hello"
    stream.cancel()
    return _failure(lambda: next(stream)).status


def who_is_killed_leaves_its_members_unreachable(site: Site) -> object:
    agent, desk = site.agent(), site.desk()
    stream = agent.Watch(pb.WatchRequest(), timeout=T)
    assert next(stream).WhichOneof("event") == "hello"
    active = [stream.is_active()]
    site.cloud.kill()
    ended = _failure(lambda: next(stream))
    active.append(stream.is_active())
    away = _failure(lambda: desk.List(ListRequest(), timeout=T))
    site.cloud.start()
    back = site.desk().List(ListRequest(), timeout=T)
    return active, ended.unreachable, away.unreachable, len(back.deliveries)


def who_is_drained_sends_its_members_away(site: Site) -> object:
    stream = site.agent().Watch(pb.WatchRequest(), timeout=T)
    assert next(stream).WhichOneof("event") == "hello"
    assert site.cloud.stop() == 0
    failure = _failure(lambda: next(stream))
    site.cloud.start()
    return failure.status  # that it is draining, a real server mostly says in time, and not always


def a_message_over_the_largest_leaves_nobody(site: Site) -> object:
    made = site.to_north(pb.KIND_INTENT, body=bytes(5 << 20))
    failure = _failure(lambda: site.desk().Submit(made, timeout=T))
    return failure.status, failure.refusal


def a_reader_that_does_not_read_holds_its_writer(site: Site) -> object:
    """The server writes what the window holds, and reads the rest of its queue when there is room."""
    desk = site.desk()
    for _ in range(12):
        desk.Submit(site.to_north(pb.KIND_INTENT, body=bytes(200_000)), timeout=T)
    stream = site.agent().Watch(pb.WatchRequest(), timeout=T)
    assert next(stream).hello.newest == 12
    return [next(stream).delivery.number for _ in range(12)]


def bytes_of_no_message_break_their_call_alone(site: Site) -> object:
    channel = site.cloud.channel(site.north)
    raw = channel.unary_unary("/ispagents.v0.AgentCloud/Submit", request_serializer=bytes, response_deserializer=bytes)
    failure = _failure(lambda: raw(b"\xff\xff\xff", timeout=T))
    again = AgentCloudStub(channel).Submit(submit(message(pb.KIND_PLAN, site.north.identity.agent)), timeout=T).again
    return failure.status, failure.refusal, again


CASES: Final[tuple[Case, ...]] = (
    a_stream_ends_at_its_deadline,
    a_stream_that_is_cancelled_says_so,
    who_is_killed_leaves_its_members_unreachable,
    who_is_drained_sends_its_members_away,
    a_message_over_the_largest_leaves_nobody,
    a_reader_that_does_not_read_holds_its_writer,
    bytes_of_no_message_break_their_call_alone,
)

OF_THE_SERVICE: Final[tuple[Case, ...]] = (
    test_service.test_what_an_agent_says_is_on_the_feed,
    test_service.test_what_a_person_sends_reaches_that_agent,
    test_service.test_what_is_for_all_reaches_all_and_the_feed,
    test_service.test_who_joins_later_hears_what_was_said_to_all,
    test_service.test_reading_goes_on_from_a_cursor,
    test_service.test_the_feed_is_read_in_pages,
    test_service.test_sending_again_has_no_second_effect,
    test_service.test_a_reader_that_is_slow_misses_nothing,
    test_service.test_refusals_say_why_and_no_more,
    test_service.test_a_call_over_the_largest_message_is_not_read,
    test_service.test_a_method_that_is_not_there_is_not_served,
    test_service.test_each_calls_its_own_service,
    test_service.test_a_service_asks_and_reads_what_came_of_it,
    test_service.test_a_view_is_answered_while_it_lasts_and_kept_nowhere,
    test_service.test_a_view_needs_its_agent,
    test_service.test_a_view_ends_when_its_agent_goes_without_an_answer,
    test_service.test_who_is_connected,
    test_service.test_an_agents_new_stream_takes_the_place_of_the_old_one,
    test_service.test_a_person_has_so_many_streams,
    test_service.test_the_witness_cosigns_an_agents_log,
    test_service.test_agent_reads_back_its_own_newest_receipts_and_outcomes,
    test_service.test_everybody_renews,
    test_server.test_watch_killed_between_deliveries,
    test_server.test_who_is_revoked_is_out_within_seconds,
)
"""They run on `ispcloud serve` in their own modules."""


# --- the control plane of a case --------------------------------------------------------------------------------------


class SimulatedCloud(Cloud):
    """A control plane on the wire, for programs."""

    host: CloudHost
    stderr: io.StringIO

    def start(self) -> Self:
        self.host.data = DataDir(self.data.path, self.data.config, self.data.authority, self.data.witness_key)
        program.wait(self.host.start)
        self.address = self.host.address
        return self

    def kill(self) -> None:
        program.in_trio(self.host.kill)

    def stop(self) -> int:
        program.wait(self.host.stop)
        return 0

    def log(self) -> str:
        return self.stderr.getvalue()

    def channel(self, member: Member, **options: int) -> Any:
        return self.host.wire.open_channel(
            self.address, member.authority, member.private_key, leaf_of(member.certificate)
        )


def simulated(case: Case, folder: Path) -> object:
    """Return what a case shows on the wire."""
    log = io.StringIO()

    async def main() -> object:
        clock = CloudClock(time.time, trio.lowlevel.current_clock().current_time)
        async with trio.open_nursery() as nursery:
            wire = Wire(nursery)
            with without_grpc(wire, clock, log), waiting(clock):
                cloud = SimulatedCloud.create(folder / "data")
                cloud.host, cloud.stderr = CloudHost(fixed(cloud.data), wire, clock), log
                cloud.data = cloud.host.data
                shown = await program.run_program(partial(run_case, cloud, case))
                cloud.host.bury()
            nursery.cancel_scope.cancel()
        return shown

    return trio.run(main, clock=virtual_clock())


def run_case(cloud: Cloud, case: Case) -> object:
    site = Site.create(cloud, "isp")
    cloud.start()
    return case(site)


def fixed(data: DataDir) -> DataDir:
    """Return a data directory whose server listens at ports of its own: there is no system that would choose some."""
    text = (data.path / "config.toml").read_text()
    for key, port in (("\nlisten", 7443), ("enrolment_listen", 7444)):
        text = text.replace(f'{key} = "127.0.0.1:0"', f'{key} = "127.0.0.1:{port}"')
    (data.path / "config.toml").write_text(text)
    return config.open_dir(data.path)


@contextmanager
def waiting(clock: CloudClock) -> Iterator[None]:
    """Let the helpers of those tests wait in virtual time."""
    said = SimpleNamespace(sleep=program.sleep, monotonic=clock.monotonic_s, time=time.time)
    with mock.patch.object(clouds, "time", said):
        yield


# --- tests ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Case, Site]]:
    """An operator for each case, at a real control plane."""
    cloud = Cloud.create(tmp_path_factory.mktemp("real") / "data")
    sites = {case: Site.create(cloud, f"isp-{n}") for n, case in enumerate(CASES)}
    try:
        cloud.start()
        yield sites
    finally:
        cloud.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_case_shows_the_same_as_over_grpc(case: Case, real: dict[Case, Site], tmp_path: Path) -> None:
    assert simulated(case, tmp_path) == case(real[case])


@pytest.mark.parametrize("case", OF_THE_SERVICE, ids=lambda case: case.__name__)
def test_what_holds_over_grpc_holds_here(case: Case, tmp_path: Path) -> None:
    simulated(case, tmp_path)
