"""The uplink against a control plane that is honest, and sometimes away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
import trio

from agent.store import mail
from agent.store.mail import PassOver, Post
from agent.uplink import enrolment, limits, link
from agent.uplink import identity as identities
from agent.uplink.client import CloudClient
from agent.uplink.errors import RemoteRefusedError, UnreachableError
from protos import agent_pb2
from protos import message_pb2 as pb
from protos.channel import Keepalive
from protos.limits import MESSAGE_BYTES, RETRY_AFTER_S_MAX
from tests.agent.uplink.rig import WITNESS, Rig, rigged
from tests.builders.cloud import NASTY, Authority, Cloud, abort, message, serving, until
from tests.builders.expect import present

Board = Callable[[grpc.ServicerContext], agent_pb2.BoardReply]


@pytest.fixture
def port(cloud: Cloud) -> Iterator[int]:
    with serving(cloud) as port:
        yield port


async def test_what_comes_is_taken_in_order_with_its_cursor(tmp_path: Path, cloud: Cloud, port: int) -> None:
    cloud.deliver(message(pb.KIND_INTENT, 1, b"one"), message(pb.KIND_APPROVAL, 2, b"two", links=[b"a", b"b"]))
    async with rigged(tmp_path, cloud.authority, port) as rig:
        async with rig.linked() as uplink:
            rung = rig.bells.inbox
            await until(lambda: len(rig.inbox()) == 2)
            assert uplink.status().connected
            cloud.deliver(message(pb.KIND_FREEZE, 3, b"three", agent=b""))
            cloud.pass_on(message(pb.KIND_VIEW, 4, b"look"))
            with trio.fail_after(60):
                while len(rig.inbox()) < 4:
                    await rung.wait()
        assert rig.inbox() == [("intent", b"one"), ("approval", b"two"), ("freeze", b"three"), ("view", b"look")]
        assert mail.cursor(rig.store.reader) == (cloud.epoch, 3)
        row = present(mail.next_in(rig.store.reader, ["approval"]))
        assert row.links == (b"a", b"b")
        async with rig.linked() as uplink:  # and goes on from there
            await until(lambda: uplink.status().connected)
    assert cloud.watches == [(b"", 0), (cloud.epoch, 2)], "the last one again, by which it is known"


async def test_the_board_is_compared_before_anything_is_taken_in(tmp_path: Path, cloud: Cloud, port: int) -> None:
    cloud.deliver(message(pb.KIND_INTENT, 1, b"one"))
    cloud.board = lambda _: agent_pb2.BoardReply(statements=[b"new", b"old"])
    async with rigged(tmp_path, cloud.authority, port) as rig:
        await rig.post(Post("receipt", b"next"))
        seen: list[tuple[object, int]] = []
        rig.board.meanwhile = lambda: seen.append((rig.inbox(), len(cloud.taken)))
        for _ in range(2):  # on each connection
            async with rig.linked():
                await until(lambda: rig.inbox() and not rig.outbox() and len(seen) == len(rig.board.answers))
        assert seen[0] == ([], 0)
        assert rig.board.answers == [[b"new", b"old"]] * len(seen)
        assert not rig.board.passed_over


def no_such_call(context: grpc.ServicerContext) -> agent_pb2.BoardReply:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, NASTY)
    raise AssertionError


def over_its_quota(context: grpc.ServicerContext) -> agent_pb2.BoardReply:
    abort(context, pb.REFUSAL_QUOTA)
    raise AssertionError


def too_large(_: grpc.ServicerContext) -> agent_pb2.BoardReply:
    return agent_pb2.BoardReply(statements=[bytes(MESSAGE_BYTES * 2)])


def without_an_answer(context: grpc.ServicerContext) -> agent_pb2.BoardReply:
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait(60)
    return agent_pb2.BoardReply()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (no_such_call, "unimplemented"),  # a control plane from before
        (over_its_quota, "quota"),
        (too_large, "resource-exhausted"),
        (without_an_answer, "deadline-exceeded"),
    ],
)
async def test_a_board_that_is_not_told_holds_nothing_up(
    tmp_path: Path, cloud: Cloud, port: int, answer: Board, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BOARD_S", 0.5)
    cloud.board = answer
    cloud.deliver(message(pb.KIND_INTENT, 1, b"one"))
    async with rigged(tmp_path, cloud.authority, port) as rig, rig.linked() as uplink:
        await until(lambda: rig.inbox() == [("intent", b"one")])
        assert uplink.status().connected
        assert (rig.board.answers, set(rig.board.passed_over)) == ([], {code})


async def test_unknown_or_wrong_ones_are_passed_over_and_not_repeated(tmp_path: Path, cloud: Cloud, port: int) -> None:
    cloud.deliver(
        message(77, 1),
        message(pb.KIND_INTENT, 2, b"good"),
        message(pb.KIND_INTENT, 3, agent=b"\x01" * 16),
        message(pb.KIND_PLAN, 4),
    )
    async with rigged(tmp_path, cloud.authority, port) as rig, rig.linked() as uplink:
        await until(lambda: mail.cursor(rig.store.reader)[1] == 4)
        assert rig.inbox() == [("intent", b"good")]
        assert uplink.status().passed_over == 3


async def test_the_cursor_goes_past_what_is_of_no_use_and_never_back(tmp_path: Path, authority: Authority) -> None:
    one, other = b"1" * 16, b"2" * 16
    async with rigged(tmp_path, authority) as rig:
        for number, epoch, want in [(5, one, 5), (3, one, 5), (300, one, 300), (2, other, 2)]:
            await rig.store.run(PassOver(number, epoch))
            assert mail.cursor(rig.store.reader) == (epoch, want)


async def test_the_outbox_is_drained_in_order_and_the_witness_asked(tmp_path: Path, cloud: Cloud, port: int) -> None:
    async with rigged(tmp_path, cloud.authority, port) as rig, rig.linked() as uplink:
        await until(lambda: uplink.status().connected)
        await rig.post(
            Post("plan", b"p1"),
            Post("checkpoint", b"to the cloud", witness=WITNESS),
            Post("checkpoint", b"to a desk", witness=b"DESK"),
            Post("view-page", b"page", answers=b"v" * 16, last=True),
            Post("outcome", b"o1"),
        )
        await until(lambda: not rig.outbox())
        sent = list(cloud.taken.values())
        assert [(m.kind, m.body) for m in sent] == [
            (pb.KIND_PLAN, b"p1"),
            (pb.KIND_CHECKPOINT, b"to a desk"),
            (pb.KIND_VIEW_PAGE, b"page"),
            (pb.KIND_OUTCOME, b"o1"),
        ]
        assert (sent[1].witness, sent[2].answers, sent[2].last) == (b"DESK", b"v" * 16, True)
        assert {m.agent.hex() for m in sent} == {"a1" * 16}
        assert cloud.checkpoints == [b"to the cloud"]
        row = present(mail.next_in(rig.store.reader))
        assert (row.kind, row.body, row.witness) == ("cosignature", b"line\n", WITNESS)


async def test_a_witness_that_saw_another_size_says_so(tmp_path: Path, cloud: Cloud, port: int) -> None:
    cloud.witness = lambda b, c: agent_pb2.AddCheckpointReply(conflict=4711)
    async with rigged(tmp_path, cloud.authority, port) as rig, rig.linked() as uplink:
        await until(lambda: uplink.status().connected)
        await rig.post(Post("checkpoint", b"body", witness=WITNESS))
        await until(lambda: rig.inbox() and not rig.outbox())
        assert rig.inbox() == [("cosignature", b"conflict 4711\n")]


@pytest.mark.parametrize("persisted", [False, True])
async def test_an_answer_that_is_lost_has_no_second_effect(
    tmp_path: Path, cloud: Cloud, port: int, persisted: bool
) -> None:
    """The connection is cut before, or after, the control plane has it: it ends up there once."""
    token = trio.lowlevel.current_trio_token()
    async with rigged(tmp_path, cloud.authority, port) as rig:
        cuts = 0

        def cut(_: pb.Message, context: grpc.ServicerContext) -> None:
            nonlocal cuts
            if cuts < 3:
                cuts += 1
                trio.from_thread.run(rig.proxy.cut, trio_token=token)
                if not persisted:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "killed")

        if persisted:
            cloud.after_submit = cut
        else:
            cloud.before_submit = cut
        async with rig.linked() as uplink:
            await until(lambda: uplink.status().connected)
            await rig.post(Post("outcome", b"o1"), Post("outcome", b"o2"))
            await until(lambda: not rig.outbox())
        assert cuts == 3
        assert [m.body for m in cloud.taken.values()] == [b"o1", b"o2"]
        assert cloud.again == (3 if persisted else 0)


async def test_the_control_plane_is_restarted(tmp_path: Path, cloud: Cloud) -> None:
    async with rigged(tmp_path, cloud.authority) as rig, rig.linked() as uplink:
        with serving(cloud) as port:
            rig.proxy.target = port
            cloud.deliver(message(pb.KIND_INTENT, 1, b"one"))
            await until(lambda: len(rig.inbox()) == 1)
        await until(lambda: not uplink.status().connected and uplink.status().problem)
        await rig.post(Post("outcome", b"kept"))
        cloud.deliver(message(pb.KIND_CANCEL, 2, b"two"))
        with serving(cloud) as port:
            rig.proxy.target = port
            await until(lambda: len(rig.inbox()) == 2 and not rig.outbox())
            assert uplink.status().problem == ""
    assert [m.body for m in cloud.taken.values()] == [b"kept"]


async def test_a_restored_control_plane_is_read_anew_without_repeats(tmp_path: Path, cloud: Cloud, port: int) -> None:
    cloud.deliver(*(message(pb.KIND_INTENT, n, b"%d" % n) for n in range(1, 6)))
    async with rigged(tmp_path, cloud.authority, port) as rig:
        async with rig.linked():
            await until(lambda: len(rig.inbox()) == 5)
        cloud.epoch = b"f" * 16
        cloud.kept = cloud.kept[:2]
        cloud.deliver(message(pb.KIND_INTENT, 9, b"new"))
        async with rig.linked():
            await until(lambda: mail.cursor(rig.store.reader) == (cloud.epoch, 3))
        assert [body for _, body in rig.inbox()] == [b"1", b"2", b"3", b"4", b"5", b"new"]


async def put_back(rig: Rig, cloud: Cloud) -> None:
    """Let the agent read five messages, put the control plane back to two of them, and send a freeze."""
    cloud.deliver(*(message(pb.KIND_INTENT, n, b"%d" % n) for n in range(1, 6)))
    async with rig.linked():
        await until(lambda: len(rig.inbox()) == 5)
    cloud.kept = cloud.kept[:2]
    cloud.deliver(message(pb.KIND_FREEZE, 9, b"freeze", agent=b""))


async def test_a_control_plane_that_went_back_is_read_from_the_start(tmp_path: Path, cloud: Cloud, port: int) -> None:
    """A snapshot of its machine was put back: its next messages have numbers that the agent has passed."""
    async with rigged(tmp_path, cloud.authority, port) as rig:
        await put_back(rig, cloud)
        async with rig.linked() as uplink:
            await until(lambda: mail.cursor(rig.store.reader) == (cloud.epoch, 3))
            assert uplink.status().problem == ""
        assert [body for _, body in rig.inbox()] == [b"1", b"2", b"3", b"4", b"5", b"freeze"]


@pytest.mark.parametrize("passed", [-1, 0, 2])
async def test_a_control_plane_that_went_back_and_grew_loses_no_stop(
    tmp_path: Path, cloud: Cloud, port: int, passed: int
) -> None:
    """Desks sent more before the agent came again than the control plane had lost: its numbers tell nothing."""
    async with rigged(tmp_path, cloud.authority, port) as rig:
        await put_back(rig, cloud)
        cloud.deliver(*(message(pb.KIND_INTENT, n, b"%d" % n) for n in range(10, 12 + passed)))
        async with rig.linked() as uplink:
            await until(lambda: len(rig.inbox()) == 3 + len(cloud.kept), timeout_s=30)
            await until(lambda: uplink.status().connected)
            assert mail.cursor(rig.store.reader) == (cloud.epoch, len(cloud.kept))
        assert [body for _, body in rig.inbox()][5] == b"freeze"


async def test_where_our_last_message_expired_no_stop_is_lost(tmp_path: Path, cloud: Cloud, port: int) -> None:
    """It went back and grew, and what has the number of our last one now is not told any more."""
    async with rigged(tmp_path, cloud.authority, port) as rig:
        await put_back(rig, cloud)
        cloud.deliver(*(message(pb.KIND_INTENT, n, b"%d" % n) for n in range(10, 14)))
        cloud.expired = {5}
        rig.keep_plan(WAITS)
        async with rig.linked() as uplink:
            await until(lambda: mail.cursor(rig.store.reader) == (cloud.epoch, 7), timeout_s=30)
            await until(lambda: uplink.status().connected)
            cloud.expired = {5, 6, 7}
            cloud.deliver(message(pb.KIND_INTENT, 14, b"14"))
            await until(lambda: mail.cursor(rig.store.reader) == (cloud.epoch, 8))
            assert len(cloud.watches) == 3
        assert [body for _, body in rig.inbox()][5:] == [b"freeze", b"10", b"12", b"13", b"14"]
        async with rig.linked() as uplink:
            await until(lambda: uplink.status().connected)
        assert (len(cloud.watches), bodies(cloud)) == (4, []), "nothing says that it lacks a post of ours"


WAITS = b"a plan that waits"


@pytest.mark.parametrize("answered", [True, False])
async def test_a_cloud_that_lost_our_posts_alone_is_told_again(
    tmp_path: Path, cloud: Cloud, port: int, caplog: pytest.LogCaptureFixture, answered: bool
) -> None:
    """Nothing had come for the agent since the copy: its numbers and refs show nothing.

    Not `answered`: the connection ends when the control plane has our last message again.
    """
    token = trio.lowlevel.current_trio_token()
    cuts = [] if answered else [1]
    async with rigged(tmp_path, cloud.authority, port) as rig:
        async with rig.linked() as uplink:
            await until(lambda: uplink.status().connected)
            rig.keep_plan(WAITS)
            await rig.post(Post("outcome", b"before"))
            await until(lambda: not rig.outbox())
            copy = dict(cloud.taken)
            await rig.post(Post("plan", WAITS), Post("receipt", b"after"), Post("checkpoint", b"c", witness=b"DESK"))
            await until(lambda: not rig.outbox())

        def cut(_: pb.Message, __: grpc.ServicerContext) -> None:
            if cuts and len(cloud.taken) > 1 and cuts.pop():
                trio.from_thread.run(rig.proxy.cut, trio_token=token)

        for taken, told in [(dict(cloud.taken), 0), (copy, 1)]:
            cloud.after_submit = cut if told else cloud.after_submit
            cloud.taken, before = taken, cloud.again
            caplog.clear()
            async with rig.linked():
                await until(lambda b=before: cloud.again > b or WAITS in bodies(cloud), 10)  # type: ignore[misc]  # bound here
                await until(lambda: WAITS in bodies(cloud) and not rig.outbox(), 10)
            assert caplog.text.count("the control plane was put back") == told
        assert bodies(cloud) == [b"before", b"after", WAITS]


@pytest.mark.parametrize("unread", [0, 3])
async def test_an_answer_after_our_stream_broke_is_not_believed(
    tmp_path: Path, cloud: Cloud, port: int, unread: int
) -> None:
    """gRPC dials again by itself: the control plane may have been put back meanwhile, as a new stream finds."""
    async with rigged(tmp_path, cloud.authority, port) as rig:
        cloud.deliver(*(message(pb.KIND_INTENT, n) for n in range(1, 1 + unread)))
        connection = CloudClient(rig.enroll())
        async with connection.watch(b"", 0) as stream:
            await stream.receive()
            await connection.submit(message(pb.KIND_PLAN, 1))
            await rig.proxy.cut()
            with trio.fail_after(20):
                while len(cloud.taken) < 2:
                    with pytest.raises(UnreachableError):
                        await connection.submit(message(pb.KIND_PLAN, 2))
                    await trio.sleep(0.05)
        connection.close()


def bodies(cloud: Cloud) -> list[bytes]:
    return [m.body for m in cloud.taken.values()]


@pytest.mark.parametrize("refusal", [pb.REFUSAL_REF_REUSED, pb.REFUSAL_DRAINING])
async def test_a_refused_comparison_holds_nothing_up(tmp_path: Path, cloud: Cloud, port: int, refusal: int) -> None:
    async with rigged(tmp_path, cloud.authority, port) as rig:
        async with rig.linked() as uplink:
            await until(lambda: uplink.status().connected)
            await rig.post(Post("plan", b"one"))
            await until(lambda: bodies(cloud) == [b"one"] and not rig.outbox())
        refusals = 1

        def refuse(_: pb.Message, context: grpc.ServicerContext) -> None:
            nonlocal refusals
            if refusals:
                refusals -= 1
                abort(context, refusal)

        cloud.before_submit = refuse
        async with rig.linked() as uplink:
            await until(lambda: uplink.status().connected)
            await rig.post(Post("plan", b"two"))
            await until(lambda: bodies(cloud) == [b"one", b"two"] and not rig.outbox())
            assert uplink.status().dropped == 0


async def test_a_restored_control_plane_may_have_more_than_before(tmp_path: Path, cloud: Cloud, port: int) -> None:
    cloud.deliver(*(message(pb.KIND_INTENT, n, b"%d" % n) for n in range(1, 4)))
    async with rigged(tmp_path, cloud.authority, port) as rig:
        async with rig.linked():
            await until(lambda: len(rig.inbox()) == 3)
        cloud.epoch, watched = b"f" * 16, len(cloud.watches)
        cloud.kept = cloud.kept[:1]
        cloud.deliver(*(message(pb.KIND_INTENT, n, b"%d" % n) for n in range(4, 8)))
        async with rig.linked():
            await until(lambda: len(rig.inbox()) == 7)
        assert len(cloud.watches) == watched + 1, "on one stream"


async def test_a_half_open_connection_is_found_in_seconds(tmp_path: Path, cloud: Cloud, port: int) -> None:
    """Nothing is answered any more and nothing closed: keepalive notices, and the next connection works."""
    async with rigged(tmp_path, cloud.authority, port) as rig:
        rig.keepalive = Keepalive(quiet_ms=300, answer_ms=300)
        async with rig.linked() as uplink:
            await until(lambda: uplink.status().connected)
            rig.proxy.freeze()
            await until(lambda: not uplink.status().connected, timeout_s=15)
            rig.proxy.thaw()
            cloud.deliver(message(pb.KIND_INTENT, 1, b"after"))
            await until(lambda: rig.inbox() == [("intent", b"after")])


async def test_refusals_drop_what_never_fits_and_keep_the_rest(
    tmp_path: Path, cloud: Cloud, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    busy = 2

    def judge(m: pb.Message, context: grpc.ServicerContext) -> None:
        nonlocal busy
        if m.body == b"bad":
            abort(context, pb.REFUSAL_MALFORMED)
        if m.body == b"later" and busy:
            busy -= 1
            abort(context, pb.REFUSAL_QUOTA if busy else pb.REFUSAL_INTERNAL)

    cloud.before_submit = judge
    async with rigged(tmp_path, cloud.authority, port) as rig, rig.linked() as uplink:
        await until(lambda: uplink.status().connected)
        await rig.post(
            Post("plan", b"bad"),
            Post("plan", b"later"),
            Post("nonsense", b"of a newer version"),
            Post("plan", bytes(MESSAGE_BYTES)),
            Post("plan", b"last"),
        )
        await until(lambda: not rig.outbox())
        assert [m.body for m in cloud.taken.values()] == [b"later", b"last"]
        assert uplink.status().dropped == 3
        assert uplink.status().connected
    logged = "".join(f"{r.getMessage()} {r.__dict__}" for r in caplog.records)
    assert "malformed" in logged
    assert "canary" not in logged
    assert "\x1b" not in logged


@pytest.mark.parametrize(("where", "name"), [(limits, "INBOX_ROWS"), (mail, "INBOX_MAX")])
async def test_nothing_is_taken_in_while_too_much_waits(
    tmp_path: Path, cloud: Cloud, port: int, monkeypatch: pytest.MonkeyPatch, where: object, name: str
) -> None:
    """The uplink looks before it takes, and the store refuses."""
    monkeypatch.setattr(where, name, 3)
    cloud.deliver(*(message(pb.KIND_INTENT, n) for n in range(1, 9)))
    async with rigged(tmp_path, cloud.authority, port) as rig, rig.linked() as uplink:
        for n in range(1, 9):
            await until(lambda: mail.next_in(rig.store.reader))
            await until(lambda n=n: len(rig.inbox()) == min(8, n + 2))  # type: ignore[misc]  # bound here
            row = present(mail.next_in(rig.store.reader))
            assert mail.state(rig.store.reader).inbox <= 3
            await rig.store.run(mail.Done(row.id))
        assert uplink.status().connected


async def test_bytes_that_wait_count_too(
    tmp_path: Path, cloud: Cloud, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INBOX_BYTES", 100_000)
    cloud.deliver(*(message(pb.KIND_INTENT, n, bytes(60_000)) for n in range(1, 5)))
    async with rigged(tmp_path, cloud.authority, port) as rig, rig.linked():
        for n in range(1, 5):
            await until(lambda n=n: len(rig.inbox()) == min(4, n + 1))  # type: ignore[misc]  # bound here
            row = present(mail.next_in(rig.store.reader))
            assert mail.state(rig.store.reader).inbox <= 2
            await rig.store.run(mail.Done(row.id))


async def test_the_certificate_is_renewed_at_two_thirds_of_its_life(tmp_path: Path, cloud: Cloud, port: int) -> None:
    async with rigged(tmp_path, cloud.authority, port) as rig:
        old = rig.enroll(begins=timedelta(days=-5), ends=timedelta(days=2))
        async with rig.linked() as uplink:
            await until(lambda: len(cloud.watches) >= 2 and uplink.status().connected)
            new = present(identities.load(rig.folder, rig.vault))
            assert (new.key, new.certificate) != (old.key, old.certificate)
            assert (new.enrolment, new.server) == (old.enrolment, old.server)
            assert cloud.renewals == 1
            cloud.deliver(message(pb.KIND_INTENT, 1, b"after"))
            await until(lambda: rig.inbox() == [("intent", b"after")])
            assert uplink.status().certificate_until_s == int(enrolment.lifetime(new)[1])


async def test_a_renewal_with_anothers_certificate_is_not_kept(tmp_path: Path, cloud: Cloud, port: int) -> None:
    cloud.certificate = {"uri": f"ispagents://{'0b' * 16}/agent/{'ff' * 16}"}
    async with rigged(tmp_path, cloud.authority, port) as rig:
        old = rig.enroll(begins=timedelta(days=-5), ends=timedelta(days=2))
        async with rig.linked() as uplink:
            await until(lambda: cloud.renewals)
            cloud.deliver(message(pb.KIND_INTENT, 1, b"still here"))
            await until(rig.inbox)
            assert identities.load(rig.folder, rig.vault) == old
            assert uplink.status().connected


async def test_a_person_enrols_and_leaves_beside_the_running_daemon(
    tmp_path: Path, cloud: Cloud, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "FILE_S", 0.02)
    async with rigged(tmp_path, cloud.authority, port, enrolled=False) as rig, rig.linked() as uplink:
        await until(lambda: uplink.status().since_s)
        await rig.post(Post("plan", b"before"))
        assert rig.outbox() == 0
        rig.enroll()
        await until(lambda: uplink.status().connected)
        await rig.post(Post("plan", b"one"))
        await until(lambda: len(cloud.taken) == 1)
        first = len(cloud.watches)
        rig.enroll()  # again: another connection, from the beginning
        await until(lambda: len(cloud.watches) > first and uplink.status().connected)
        assert cloud.watches[-1] == (b"", 0)
        identities.remove(rig.folder)
        await until(lambda: not uplink.status().connected and not uplink.status().server)
        assert not mail.state(rig.store.reader).enrolled
        await rig.post(Post("plan", b"nobody to tell"))
        assert rig.outbox() == 0


async def test_credentials_that_do_not_open_are_told(tmp_path: Path, cloud: Cloud, port: int) -> None:
    async with rigged(tmp_path, cloud.authority, port) as rig:
        (rig.folder / identities.FILE_NAME).write_text("{}")
        async with rig.linked() as uplink:
            await until(lambda: uplink.status().problem == "credentials")
            rig.enroll()
            await until(lambda: uplink.status().connected)


async def test_a_pause_that_is_asked_for_is_bounded(tmp_path: Path, cloud: Cloud, port: int) -> None:
    cloud.before_submit = lambda m, c: abort(c, pb.REFUSAL_DRAINING, grpc.StatusCode.UNAVAILABLE, 4_000_000_000)
    async with rigged(tmp_path, cloud.authority, port) as rig:
        connection = CloudClient(rig.enroll())
        with pytest.raises(RemoteRefusedError) as refused:
            await connection.submit(message(pb.KIND_PLAN))
        connection.close()
    assert (refused.value.refusal, refused.value.retry_after_s) == ("draining", RETRY_AFTER_S_MAX)
    assert NASTY not in str(refused.value)


async def test_stream_open_long_enough_is_opened_again_without_fuss(
    tmp_path: Path, cloud: Cloud, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "WATCH_S", 1.5)  # a TLS handshake and a Hello take less, also on a busy machine
    async with rigged(tmp_path, cloud.authority, port) as rig, rig.linked() as uplink:
        await until(lambda: len(cloud.watches) >= 4)
        assert uplink.status().problem == ""
        cloud.deliver(message(pb.KIND_INTENT, 1, b"one"))
        await until(lambda: rig.inbox() == [("intent", b"one")])
    assert "no connection to the control plane" not in [r.getMessage() for r in caplog.records]


async def test_many_connections_leave_nothing_behind(tmp_path: Path, cloud: Cloud, port: int) -> None:
    """Threads and open files after forty cancelled uplinks are what they were after five."""

    def held() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    async with rigged(tmp_path, cloud.authority, port) as rig:
        for n in range(40):
            async with rig.linked() as uplink:
                await until(lambda uplink=uplink: uplink.status().connected)  # type: ignore[misc]  # bound here
            if n == 4:
                after_five = held()
        await until(lambda: held() <= (after_five[0] + 4, after_five[1] + 8))
