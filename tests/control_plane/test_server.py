"""The server as a process: load, power cuts, revocation, draining, and what it shows of itself."""

import contextlib
import json
import os
import secrets
import selectors
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from control_plane import certificates, limits
from protos import message_pb2 as pb
from protos.agent_pb2 import AddCheckpointReply, AddCheckpointRequest
from protos.desk_pb2 import AgentsRequest, ListRequest, ViewRequest
from protos.enrolment_pb2 import EnrollRequest
from protos.enrolment_pb2_grpc import EnrolmentStub
from tests.builders.answers import unix_of
from tests.builders.expect import expect, present
from tests.control_plane.cloud import (
    ROOT,
    SERVE,
    WAIT_S,
    Cloud,
    Log,
    Member,
    Site,
    message,
    ref,
    refusal_of,
    submit,
    wait_for,
)
from trust import checkpoint

T = 20.0
"""Seconds that a call may take before the test has failed; none waits for it."""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """A control plane that has not been started."""
    made = Cloud.create(tmp_path / "data", metrics=True, quotas="member_messages_per_minute = 100000\n")
    try:
        yield made
    finally:
        print(made.log(), made.process and made.process.poll())  # shown when the test fails
        made.close()


@pytest.fixture
def site(cloud: Cloud) -> Site:
    """An operator of a control plane that runs."""
    made = Site.create(cloud, "north-isp")
    cloud.start()
    return made


def watch(site: Site, member: Member, after: int = 0, epoch: bytes = b"") -> Iterator[pb.WatchEvent]:
    stub = site.agent(member) if member.identity.agent else site.desk(member)
    return stub.Watch(pb.WatchRequest(cursor=pb.Cursor(epoch=epoch, after=after)), timeout=T)


def everything(site: Site, member: Member) -> list[pb.Delivery]:
    """All that is in a member's queue now."""
    stream = watch(site, member)
    newest = next(stream).hello.newest
    return [next(stream).delivery for _ in range(newest)]


def feed(site: Site) -> list[pb.Delivery]:
    desk, found, cursor = site.desk(), [], pb.Cursor()
    while (page := desk.List(ListRequest(cursor=cursor), timeout=T)).deliveries:
        found += page.deliveries
        cursor = pb.Cursor(epoch=page.epoch, after=page.after)
    return found


def in_threads(work: list[Callable[[], None]]) -> None:
    """Run each in a thread of its own; the first error is raised here."""
    errors: list[BaseException] = []

    def run(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as err:  # noqa: BLE001 # raised again in the test's thread
            errors.append(err)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


# --- load -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_operators_and_four_agents_under_load(cloud: Cloud) -> None:
    sites = [Site.create(cloud, name) for name in ("north-isp", "south-isp")]
    cloud.start()
    each = 60
    sent: dict[tuple[bytes, bytes], set[bytes]] = {}
    agents = [(site, member) for site in sites for member in (site.north, site.south)]
    live = {member.identity: watch(site, member) for site, member in agents}
    feeds = [watch(site, site.joseph) for site in sites]
    for stream in (*live.values(), *feeds):
        assert next(stream).hello.newest == 0

    def down(site: Site, member: Member) -> Callable[[], None]:
        made = [message(pb.KIND_INTENT, member.identity.agent) for _ in range(each)]
        sent[site.operator, member.identity.agent] = {m.ref for m in made}
        return lambda: _send(site.desk(), made)

    def up(site: Site, member: Member) -> Callable[[], None]:
        made = [message(pb.KIND_RECEIPT, member.identity.agent) for _ in range(each)]
        sent.setdefault((site.operator, b""), set()).update(m.ref for m in made)
        return lambda: _send(site.agent(member), made)

    in_threads([make(site, member) for site, member in agents for make in (down, up)])
    for site, member in agents:
        got = [next(live[member.identity]).delivery for _ in range(each)]
        assert [d.number for d in got] == list(range(1, each + 1))
        assert {d.message.agent for d in got} == {member.identity.agent}
        assert {d.message.ref for d in got} == sent[site.operator, member.identity.agent]
    for site, stream in zip(sites, feeds, strict=True):
        got = [next(stream).delivery for _ in range(2 * each)]
        assert [d.number for d in got] == list(range(1, 2 * each + 1))
        assert {d.message.ref for d in got} == sent[site.operator, b""]
        assert [d.message.ref for d in feed(site)] == [d.message.ref for d in got]


def _send(stub: Any, messages: list[pb.Message]) -> None:
    calls = [stub.Submit.future(submit(m), timeout=T) for m in messages for _ in range(2)]
    replies = [call.result() for call in calls]
    assert sum(r.again for r in replies) == len(messages), "each is taken once, and told again once"


# --- power cuts -----------------------------------------------------------------------------------------------------


class Deaf:
    """A proxy between a client and the server that, once `deaf`, lets no answer through."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._to = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.deaf = threading.Event()
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        selector, peers = selectors.DefaultSelector(), dict[socket.socket, socket.socket]()
        selector.register(self._listener, selectors.EVENT_READ)
        selector.register(self._stopped, selectors.EVENT_READ)
        from_server: set[socket.socket] = set()
        try:
            while True:
                for key, _ in selector.select():
                    one = expect(socket.socket, key.fileobj)
                    if one is self._stopped:
                        return
                    if one is self._listener:
                        client, server = self._listener.accept()[0], socket.create_connection(self._to)
                        peers |= {client: server, server: client}
                        from_server.add(server)
                        selector.register(client, selectors.EVENT_READ)
                        selector.register(server, selectors.EVENT_READ)
                    elif not self._pass_on(one, peers[one], one in from_server):
                        selector.unregister(one)
        finally:
            for one in (*peers, self._listener, self._stopped):
                one.close()
            selector.close()

    def _pass_on(self, one: socket.socket, other: socket.socket, is_answer: bool) -> bool:
        try:
            data = one.recv(65536)
            if data and not (is_answer and self.deaf.is_set()):
                other.sendall(data)
        except OSError:
            return False
        return bool(data)

    def close(self) -> None:
        self._stop.close()
        self._thread.join()


@contextlib.contextmanager
def unanswered(site: Site, member: Member) -> Iterator[grpc.Channel]:
    """A channel whose calls arrive and whose answers do not."""
    proxy = Deaf(site.cloud.address)
    channel = member.channel(proxy.address)
    try:
        grpc.channel_ready_future(channel).result(T)
        proxy.deaf.set()
        yield channel
    finally:
        channel.close()
        proxy.close()


@contextlib.contextmanager
def writer_blocked(cloud: Cloud) -> Iterator[None]:
    """While this lasts, nothing becomes durable."""
    with contextlib.closing(sqlite3.connect(cloud.data.database, isolation_level=None)) as con:
        con.execute("BEGIN IMMEDIATE")
        yield
        con.execute("ROLLBACK")


def kept(cloud: Cloud) -> int:
    return cloud.rows("SELECT count(*) FROM message")[0][0]


def by(site: Site, kind: int) -> Member:
    return site.north if kind == pb.KIND_PLAN else site.lena


def stub_of(channel: grpc.Channel, member: Member) -> Any:
    from protos.agent_pb2_grpc import AgentCloudStub
    from protos.desk_pb2_grpc import DeskCloudStub

    return AgentCloudStub(channel) if member.identity.agent else DeskCloudStub(channel)


@pytest.mark.parametrize("kind", [pb.KIND_PLAN, pb.KIND_APPROVAL, pb.KIND_FREEZE], ids=pb.Kind.Name)
def test_submit_killed_after_it_was_durable(site: Site, kind: int) -> None:
    member = by(site, kind)
    made = submit(message(kind, site.north.identity.agent, **({"agent": b""} if kind == pb.KIND_FREEZE else {})))
    queues = 3 if kind == pb.KIND_FREEZE else 1
    with unanswered(site, member) as channel:
        call = stub_of(channel, member).Submit.future(made, timeout=T)
        wait_for("the message to be durable", lambda: call.done() or kept(site.cloud) == queues)
        assert not call.done(), call
        site.cloud.kill()
        call.cancel()
    site.cloud.start()
    stub = site.agent(member) if member.identity.agent else site.desk(member)
    assert stub.Submit(made, timeout=T).again, "it was taken; its answer was lost"
    assert kept(site.cloud) == queues
    found = feed(site) if kind != pb.KIND_APPROVAL else everything(site, site.north)
    assert [(d.number, d.message) for d in found] == [(1, found[0].message)]
    assert found[0].message.ref == made.message.ref


@pytest.mark.parametrize("kind", [pb.KIND_PLAN, pb.KIND_APPROVAL], ids=pb.Kind.Name)
def test_submit_killed_before_it_was_durable(site: Site, kind: int) -> None:
    member, made = by(site, kind), site.to_north(kind)
    stub = site.agent(member) if member.identity.agent else site.desk(member)
    next(watch(site, member))  # connected
    with writer_blocked(site.cloud):
        call = stub.Submit.future(made, timeout=T)
        refused = site.to_north(kind, ref=b"short")
        with pytest.raises(grpc.RpcError):  # came later on the same connection, and was answered: so it is there
            stub.Submit(refused, timeout=T)
        assert not call.done()
        site.cloud.kill()
    assert call.exception().code() is grpc.StatusCode.UNAVAILABLE
    assert kept(site.cloud) == 0
    site.cloud.start()
    stub = site.agent(member) if member.identity.agent else site.desk(member)
    assert [stub.Submit(made, timeout=T).again for _ in range(2)] == [False, True]
    assert kept(site.cloud) == 1


@pytest.mark.slow
def test_watch_killed_between_deliveries(site: Site) -> None:
    made = [site.to_north(pb.KIND_INTENT) for _ in range(250)]
    for call in [site.desk().Submit.future(m, timeout=T) for m in made]:
        call.result()
    got: list[pb.Delivery] = []
    epoch = b""
    for upto in (1, 100, 101, 230, 250):  # also in the middle of a page, and at its border
        stream = watch(site, site.north, got[-1].number if got else 0, epoch)
        hello = next(stream).hello
        assert hello.newest == 250
        assert hello.epoch == epoch or not epoch
        epoch = hello.epoch
        while len(got) < upto:
            got.append(next(stream).delivery)
        site.cloud.restart()
    assert [d.number for d in got] == list(range(1, 251))
    assert {d.message.ref for d in got} == {m.message.ref for m in made}


def test_add_checkpoint_killed_after_it_was_durable(site: Site) -> None:
    log = Log(site.north.identity.agent)
    with unanswered(site, site.north) as channel:
        call = stub_of(channel, site.north).AddCheckpoint.future(AddCheckpointRequest(body=log.ask(0, 20)), timeout=T)
        wait_for("the checkpoint to be durable", lambda: len(site.cloud.rows("SELECT 1 FROM witness")) == 1)
        site.cloud.kill()
        assert not call.done()
        call.cancel()
    site.cloud.start()
    add = site.agent().AddCheckpoint
    # What it may have cosigned it never takes back: a fork or a smaller tree gets no signature
    for body in (log.ask(0, 20), log.ask(0, 10), Log(site.north.identity.agent, "forked").ask(0, 30)):
        assert add(AddCheckpointRequest(body=body), timeout=T) == AddCheckpointReply(conflict=20)
    reply = add(AddCheckpointRequest(body=log.ask(20, 20)), timeout=T)
    vkey = checkpoint.parse_witness_vkey_untrusted(site.cloud.data.witness_vkey())
    origin = f"isp.example/agent/{site.north.identity.agent.hex()}"
    text = checkpoint.Checkpoint(origin, 20, log.root(20)).text()
    assert checkpoint.verify_cosignature_untrusted(reply.cosignatures.decode(), text, vkey) > 0


def test_add_checkpoint_killed_before_it_was_durable(site: Site) -> None:
    log, agent = Log(site.north.identity.agent), site.agent()
    next(watch(site, site.north))
    with writer_blocked(site.cloud):
        call = agent.AddCheckpoint.future(AddCheckpointRequest(body=log.ask(0, 20)), timeout=T)
        with pytest.raises(grpc.RpcError):
            agent.AddCheckpoint(AddCheckpointRequest(body=b"old"), timeout=T)
        assert not call.done(), "no signature before it is durable"
        site.cloud.kill()
    assert call.exception() is not None
    assert not site.cloud.rows("SELECT 1 FROM witness")
    site.cloud.start()
    assert site.agent().AddCheckpoint(AddCheckpointRequest(body=log.ask(0, 10)), timeout=T).cosignatures


@pytest.mark.slow
def test_power_cuts_while_everybody_sends(site: Site) -> None:
    each, members = 40, (site.north, site.south, site.lena, site.joseph)
    sent = {
        m: [message(pb.KIND_PLAN, m.identity.agent) if m.identity.agent else site.to_north(pb.KIND_CANCEL).message
            for _ in range(each)]
        for m in members
    }  # fmt: skip
    up = threading.Event()
    up.set()

    def send(member: Member) -> None:
        waiting = list(sent[member])
        while waiting:
            assert up.wait(T)
            channel = member.channel(site.cloud.address)
            with contextlib.closing(channel), contextlib.suppress(grpc.RpcError):
                while waiting:
                    stub_of(channel, member).Submit(submit(waiting[0]), timeout=T)
                    del waiting[0]

    def cut() -> None:
        for least in (10, 60, 120):
            wait_for("some of it to be durable", lambda n=least: kept(site.cloud) >= n)
            up.clear()
            site.cloud.restart()
            up.set()

    in_threads([cut, *(lambda m=member: send(m) for member in members)])
    for found, senders in ((feed(site), members[:2]), (everything(site, site.north), members[2:])):
        assert [d.number for d in found] == list(range(1, 2 * each + 1))
        assert sorted(d.message.ref for d in found) == sorted(m.ref for s in senders for m in sent[s])


# --- ends -----------------------------------------------------------------------------------------------------------


def test_who_is_revoked_is_out_within_seconds(site: Site) -> None:
    north, south, lena = (watch(site, m) for m in (site.north, site.south, site.lena))
    for stream in (north, south, lena):
        assert next(stream).HasField("hello")
    site.cloud.revoke(site.north)
    site.cloud.revoke(site.lena)
    for stream in (north, lena):
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert refusal_of(caught.value) == pb.REFUSAL_REVOKED
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    for call in (lambda: next(watch(site, site.north)), lambda: site.desk().List(ListRequest(), timeout=T)):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert refusal_of(caught.value) == pb.REFUSAL_REVOKED
    site.desk(site.joseph).Submit(submit(message(pb.KIND_CANCEL, site.south.identity.agent)), timeout=T)
    assert next(south).delivery.number == 1, "the others go on"
    with pytest.raises(grpc.RpcError) as caught:
        site.desk(site.joseph).Submit(site.to_north(pb.KIND_CANCEL), timeout=T)
    assert refusal_of(caught.value) == pb.REFUSAL_UNKNOWN_AGENT


def test_a_revoked_reader_that_does_not_read_is_out_too(site: Site) -> None:
    stream = watch(site, site.north)
    assert next(stream).HasField("hello")
    body = secrets.token_bytes(limits.INTENT_BYTES)
    for _ in range(16):  # more than flow control lets through: the server waits in the middle of a delivery
        site.desk().Submit(site.to_north(pb.KIND_INTENT, body=body), timeout=T)
    site.cloud.revoke(site.north)
    ended = '"event":"streams-ended","refusal":"REFUSAL_REVOKED","streams":1'
    wait_for("the stream to be ended", lambda: ended in site.cloud.log())

    def gone() -> bool:
        text = urllib.request.urlopen(f"http://{site.cloud.metrics}/metrics", timeout=T).read().decode()
        return 'ispcloud_streams{kind="agent"} 0.0' in text

    wait_for("the stream to be gone", gone)


def test_a_stranger_is_not_let_in(site: Site) -> None:
    without = grpc.ssl_channel_credentials(site.lena.authority)
    options = [("grpc.ssl_target_name_override", certificates.SERVER_NAME)]
    with grpc.secure_channel(site.cloud.address, without, options=options) as channel, pytest.raises(grpc.RpcError):
        stub_of(channel, site.lena).List(ListRequest(), timeout=5)
    elsewhere = Cloud.create(site.cloud.data.path.parent / "elsewhere")
    forged = Site.create(elsewhere, "north-isp").lena
    credentials = grpc.ssl_channel_credentials(site.lena.authority, forged.private_key, forged.certificate)
    with grpc.secure_channel(site.cloud.address, credentials, options=options) as channel, pytest.raises(grpc.RpcError):
        stub_of(channel, site.lena).List(ListRequest(), timeout=5)
    assert site.desk().List(ListRequest(), timeout=T).after == 0


def test_a_stranger_sends_nothing_large(site: Site) -> None:
    credentials = grpc.ssl_channel_credentials(site.lena.authority)
    options = [("grpc.ssl_target_name_override", certificates.SERVER_NAME)]
    with grpc.secure_channel(site.cloud.enrolment, credentials, options=options) as channel:
        stub = EnrolmentStub(channel)
        for size, code in (
            (limits.ENROLMENT_BYTES // 2, grpc.StatusCode.UNAUTHENTICATED),
            (2 * limits.ENROLMENT_BYTES, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Enroll(EnrollRequest(token=bytes(32), identity=bytes(size)), timeout=T)
            assert caught.value.code() is code


def _enrolment_health(site: Site) -> Iterator[health_pb2.HealthCheckResponse]:
    credentials = grpc.ssl_channel_credentials(site.lena.authority)
    options = [("grpc.ssl_target_name_override", certificates.SERVER_NAME)]
    channel = grpc.secure_channel(site.cloud.enrolment, credentials, options=options)
    site.cloud.channels.append(channel)
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=T)


def test_a_drain_tells_everybody_and_loses_nothing(site: Site) -> None:
    health = _enrolment_health(site)
    assert next(health).status == health_pb2.HealthCheckResponse.SERVING
    streams = [watch(site, m) for m in (site.north, site.lena)]
    for stream in streams:
        assert next(stream).HasField("hello")
    waiting = watch(site, site.south)
    next(waiting)
    view = ViewRequest(message=message(pb.KIND_VIEW, site.south.identity.agent))
    answer = site.desk().View(view, timeout=T)
    assert next(waiting).live.ref == view.message.ref
    assert not site.desk().Submit(site.to_north(pb.KIND_INTENT), timeout=T).again
    assert next(streams[0]).delivery.number == 1
    assert site.cloud.stop() == 0
    assert next(health).status == health_pb2.HealthCheckResponse.NOT_SERVING
    for stream in streams:
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert refusal_of(caught.value) == pb.REFUSAL_DRAINING
    with pytest.raises(grpc.RpcError):
        next(answer)
    assert '"event":"stopped"' in site.cloud.log()
    site.cloud.start()
    assert [d.number for d in everything(site, site.north)] == [1]


def test_a_reader_that_does_not_read_does_not_hold_up_a_drain(site: Site) -> None:
    stream = watch(site, site.north)
    assert next(stream).HasField("hello")
    body = secrets.token_bytes(limits.INTENT_BYTES)
    for _ in range(16):
        site.desk().Submit(site.to_north(pb.KIND_INTENT, body=body), timeout=T)
    assert site.cloud.stop() == 0


def test_a_database_that_cannot_be_written_ends_the_server(site: Site) -> None:
    with contextlib.closing(sqlite3.connect(site.cloud.data.database)) as con:
        con.execute("DROP TABLE box")
    with pytest.raises(grpc.RpcError) as caught:
        site.desk().Submit(site.to_north(pb.KIND_CANCEL), timeout=T)
    assert refusal_of(caught.value) == pb.REFUSAL_INTERNAL
    process = present(site.cloud.process)
    assert process.wait(WAIT_S) != 0
    assert '"event":"store-failed"' in site.cloud.log()
    assert kept(site.cloud) == 0


def test_one_server_has_a_data_directory(site: Site) -> None:
    second = subprocess.run(
        [sys.executable, "-c", SERVE, str(site.cloud.data.path)],
        cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert second.returncode != 0
    assert "another ispcloud serves this data directory" in second.stderr
    assert site.desk().List(ListRequest(), timeout=T).after == 0


@pytest.mark.parametrize("key", ["listen", "enrolment_listen", "metrics_listen"])
def test_a_port_that_is_taken_is_said(cloud: Cloud, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        path = cloud.data.path / "config.toml"
        address = f'"127.0.0.1:{taken.getsockname()[1]}"'
        path.write_text(path.read_text().replace(f'\n{key} = "127.0.0.1:0"', f"\n{key} = {address}"))
        ended = subprocess.run(
            [sys.executable, "-c", SERVE, str(cloud.data.path)],
            cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
    assert ended.returncode != 0
    assert "cannot be listened on" in ended.stderr
    assert ended.stdout == ""


def test_what_expired_is_deleted(site: Site) -> None:
    for kind in (pb.KIND_PLAN, pb.KIND_RECEIPT):
        site.agent().Submit(site.to_north(kind), timeout=T)
    site.cloud.kill()
    with contextlib.closing(sqlite3.connect(site.cloud.data.database)) as con:
        con.execute("UPDATE letter SET expires_s = 1 WHERE kind = ?", (pb.KIND_PLAN,))
        con.commit()
    site.cloud.start()
    wait_for("it to be deleted", lambda: kept(site.cloud) == 1)
    assert [(d.number, d.message.kind) for d in feed(site)] == [(2, pb.KIND_RECEIPT)]


# --- what it shows of itself ----------------------------------------------------------------------------------------


def test_R4_logs_and_metrics_name_nobody(site: Site) -> None:
    streams = [watch(site, m) for m in (site.north, site.lena)]
    for stream in streams:
        next(stream)
    site.desk().Submit(site.to_north(pb.KIND_INTENT, body=b"Amina Hassan"), timeout=T)
    site.desk().Agents(AgentsRequest(), timeout=T)
    for wrong in (site.to_north(pb.KIND_PLAN), site.to_north(pb.KIND_CANCEL, body=b"Amina Hassan")):
        with pytest.raises(grpc.RpcError):
            site.desk().Submit(wrong, timeout=T)

    def metrics() -> str:
        return urllib.request.urlopen(f"http://{site.cloud.metrics}/metrics", timeout=T).read().decode()

    wait_for("the streams to be counted", lambda: 'ispcloud_streams{kind="agent"} 1.0' in metrics())
    text = metrics()
    assert 'ispcloud_calls_total{method="Submit",status="OK"} 1.0' in text
    assert 'ispcloud_calls_total{method="Submit",status="PERMISSION_DENIED"} 1.0' in text
    assert 'ispcloud_calls_total{method="Submit",status="INVALID_ARGUMENT"} 1.0' in text
    assert 'ispcloud_call_seconds_count{method="Agents"} 1.0' in text
    site.cloud.revoke(site.lena)
    with pytest.raises(grpc.RpcError):
        next(streams[1])
    assert site.cloud.stop() == 0
    names = [site.operator, site.north.identity.agent]
    for word in ("Amina", "north", "lena", "127.0.0.1", *(n.hex() for n in names), *(repr(n)[2:-1] for n in names)):
        assert word not in text
        assert word not in site.cloud.log()
    for line in site.cloud.log().splitlines():
        entry = json.loads(line)
        assert unix_of(entry.pop("at")) > 0
        assert entry.keys() <= {"event", "method", "status", "refusal", "streams", "messages", "logger", "level"}
        assert all(isinstance(v, int) or v.replace("-", "").replace("_", "").isalpha() for v in entry.values())


def test_the_data_directory_is_nobody_elses(site: Site) -> None:
    for path in site.cloud.data.path.iterdir():
        if path.name.startswith("cloud.db"):
            continue  # its mode is that of the process, which `ispcloud serve` sets; the folder is 0700
        assert path.stat().st_mode & 0o077 == 0, path.name
    assert os.stat(site.cloud.data.path).st_mode & 0o777 == 0o700
    assert len(ref()) == 16
