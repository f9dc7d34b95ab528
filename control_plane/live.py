"""Connections: open streams, and views while they last. In memory only, in the event loop's thread only.

A stream is told that there is something (`wake`), and reads the database again itself, so a slow
reader costs one page of memory. Only views go through here, a bounded few.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from control_plane import limits
from control_plane.members import IdentityKind, MemberIdentity
from protos import message_pb2 as pb


@dataclass(slots=True, eq=False)
class WatchStream:
    """One open Watch: its member and its queue. `ended`: why it should end; `deadline` interrupts it then."""

    peer: MemberIdentity
    queue: bytes
    deadline: asyncio.Timeout
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    live: deque[pb.Message] = field(default_factory=deque)
    ended: pb.Refusal | None = None

    def end(self, why: pb.Refusal = pb.REFUSAL_UNSPECIFIED) -> None:
        """Interrupt it, wherever it waits; UNSPECIFIED: without an error, for a stream that took its place."""
        if self.ended is None and not self.deadline.expired():  # asyncio moves no deadline that is past
            self.ended = why
            self.deadline.reschedule(asyncio.get_running_loop().time())


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a view, for the desk that asked."""

    body: bytes
    last: bool


@dataclass(slots=True, eq=False)
class OpenView:
    """A view that lasts: its desk, its agent, and the pages that the desk has not read yet."""

    viewer: MemberIdentity
    agent: bytes
    pages: asyncio.Queue[Page | None] = field(default_factory=lambda: asyncio.Queue(limits.PAGES_MAX))
    refs: set[bytes] = field(default_factory=set)
    cut: bool = False
    """The desk did not read and a page was dropped: it gets the pages before that one only."""

    def gone(self) -> None:
        """Say that nobody will answer."""
        if self.pages.empty():
            self.pages.put_nowait(None)


class Live:
    """All streams and views of the process."""

    def __init__(self) -> None:
        self._streams: dict[bytes, list[WatchStream]] = {}
        self._views: dict[tuple[bytes, bytes, bytes], OpenView] = {}

    # --- streams ---

    def __iter__(self) -> Iterator[WatchStream]:
        return iter([stream for streams in self._streams.values() for stream in streams])

    def join(self, stream: WatchStream) -> bool:
        """Let a stream in; return False when its peer has too many. An agent's new stream takes the old one's place."""
        of_queue = self._streams.setdefault(stream.queue, [])
        of_peer = [s for s in of_queue if s.peer == stream.peer]
        if stream.peer.kind is IdentityKind.AGENT:
            for old in of_peer:
                old.end()
        elif len(of_peer) >= limits.STREAMS_PER_PEER:
            return False
        of_queue.append(stream)
        return True

    def leave(self, stream: WatchStream) -> bool:
        """Take a stream out; return whether its queue has none left. Views that its agent did not answer end."""
        of_queue = [s for s in self._streams.get(stream.queue, []) if s is not stream]
        if of_queue:
            self._streams[stream.queue] = of_queue
            of_queue[-1].live.extend(stream.live)
            of_queue[-1].wake.set()
            return False
        self._streams.pop(stream.queue, None)
        for view in self._views.values():
            if (view.viewer.operator, view.agent) == (stream.peer.operator, stream.peer.agent) and not view.refs:
                view.gone()
        return True

    def ring(self, queues: Iterable[bytes]) -> None:
        """Wake the streams of these queues."""
        for queue in queues:
            for stream in self._streams.get(queue, ()):
                stream.wake.set()

    def end(self, why: pb.Refusal, which: Callable[[MemberIdentity], bool] = lambda _: True) -> int:
        """End the streams of the peers for which `which` says so; return how many."""
        ended = [stream for stream in self if stream.ended is None and which(stream.peer)]
        for stream in ended:
            stream.end(why)
        return len(ended)

    def is_connected(self, queue: bytes) -> bool:
        """Return whether somebody watches this queue."""
        return queue in self._streams

    def count(self, kind: IdentityKind) -> int:
        """Return how many streams members of this kind have open."""
        return sum(stream.peer.kind is kind for stream in self)

    # --- views ---

    def open_view(self, viewer: MemberIdentity, message: pb.Message, queue: bytes) -> OpenView | pb.Refusal:
        """Hand a view to its agent's stream; return the channel of its pages, or why not."""
        key = (viewer.operator, message.agent, message.ref)
        if key in self._views:
            return pb.REFUSAL_REF_REUSED
        if sum(view.viewer == viewer for view in self._views.values()) >= limits.VIEWS_PER_PERSON:
            return pb.REFUSAL_QUOTA
        streams = [s for s in self._streams.get(queue, ()) if s.ended is None and len(s.live) < limits.LIVE_MAX]
        if not streams:
            return pb.REFUSAL_AGENT_AWAY
        view = self._views[key] = OpenView(viewer, message.agent)
        streams[-1].live.append(message)
        streams[-1].wake.set()
        return view

    def close_view(self, viewer: MemberIdentity, message: pb.Message) -> None:
        """Forget a view: pages that still come go nowhere."""
        self._views.pop((viewer.operator, message.agent, message.ref), None)

    def view_of(self, agent: MemberIdentity, answers: bytes) -> OpenView | None:
        """Return the view that an agent answers: of its own operator, and asked of it; None when it is over."""
        return self._views.get((agent.operator, agent.agent, answers))
