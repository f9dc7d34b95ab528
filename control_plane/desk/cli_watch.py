"""`ispcloud changes watch`: changes on the shared feed, as they come; and the desk as a witness of agents' logs."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from control_plane.clock import SYSTEM
from control_plane.desk import notify, witnessing
from control_plane.desk.cli_shared import (
    AsJson,
    CloudFile,
    PassphraseFile,
    StateFile,
    TrustFile,
    load_own,
    note,
    now_s,
    open_key_here,
)
from control_plane.desk.cloud_client import FEED_MAX
from control_plane.desk.errors import CloudAwayError, CloudRefusedError
from control_plane.desk.feed import KINDS, NotVerified, Received, SharedFeed
from control_plane.desk.notify import FeedEvent
from control_plane.desk.online import Desk, connect, red
from control_plane.desk.witnessing import DeskWitness
from protos.message_pb2 import Kind
from trust.keys import SigningKey
from trust.moments import moment_text
from trust.terminal import json_text, neutralize

_BACKOFF_S = 1.0
_BACKOFF_MAX_S = 30.0
_PASSING = frozenset({"draining", "quota", "internal"})
"""Refusals that a later try may not meet."""

_LOOK_S = 20.0
"""How often a silent stream is left, to see which receipts are late."""


def minute(unix_minutes: int) -> str:
    """Return a minute as people read it, on this machine's clock: today's without its date."""
    return moment_text(unix_minutes * 60, None, now_s())


def watch(
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    exec_: Annotated[
        str, typer.Option("--exec", help="A command for each event; it finds ISPCLOUD_EVENT, _ID, _STATE, _CLASS")
    ] = "",
    witness_key: Annotated[
        Path | None, typer.Option("--witness-key", help="Also cosign agents' logs with this key of a witness")
    ] = None,
    passphrase_file: PassphraseFile = None,
    count: Annotated[int, typer.Option("--count", min=0, help="End after so many lines; 0: when interrupted")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print changes on the shared feed, until you interrupt it."""
    words = notify.command(exec_) if exec_ else ()
    own = load_own(trust, state)
    key = None if witness_key is None else open_key_here(witness_key, passphrase_file)
    pause_s = _BACKOFF_S
    watching: _Watching | None = None
    while True:
        try:
            with connect(cloud) as client:
                desk = Desk(own if watching is None else watching.desk.own, client)
                watching = _Watching(desk, words, key, count, as_json, *_before(watching))
                watching.run()
            if watching.over:
                return
            pause_s = _BACKOFF_S
        except (CloudAwayError, CloudRefusedError) as err:
            # It drains, or is busy: a desk that stays open at night goes on by itself
            if isinstance(err, CloudRefusedError) and err.refusal not in _PASSING:
                raise
            note(f"{err}; again in {pause_s:g} s")
            time.sleep(pause_s)
            pause_s = min(_BACKOFF_MAX_S, 2 * pause_s)


def _before(watching: _Watching | None) -> tuple[dict[str, str], set[str], int, bool]:
    if watching is None:
        return {}, set(), 0, True
    return watching.states, watching.told, watching.lines, watching.first


def _not_verified(found: NotVerified) -> str:
    return f"NOT VERIFIED: message {found.number}, {found.kind}: {neutralize(found.why)}"


@dataclass(slots=True)
class _Watching:
    """`states` by plan digest as last said; `told` sentences that are said once; `lines` so far; `first`: nothing was
    said yet.
    """

    desk: Desk
    words: tuple[str, ...]
    key: SigningKey | None
    count: int
    as_json: bool
    states: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    lines: int = 0
    first: bool = True
    witness: DeskWitness | None = None

    @property
    def over(self) -> bool:
        return 0 < self.count <= self.lines

    def run(self) -> None:
        """Follow the shared feed until `count` lines were said, or it is time to connect again (certificate, memory).

        Raises:
            CloudAwayError: the control plane went away.
            RefusedHereError: the trust document has no witness with this key.
        """
        feed = self.desk.refresh((*KINDS, Kind.KIND_CHECKPOINT) if self.key else KINDS)
        if self.key is not None:
            self.witness = witnessing.find(self.desk.own.trust, self.key)
        if self.first:
            for change in feed.changes:
                if change.state == "waiting" and not self.as_json:
                    typer.echo(f"waiting: {change.short} {change.plan.action.value} {change.plan.size_bucket.value}")
                self.states[change.sha256] = change.state
            if feed.not_verified:
                note(f"{len(feed.not_verified)} messages NOT VERIFIED so far (ispcloud changes list)")
            self.told.update(map(_not_verified, feed.not_verified))
            self.first = False
        self._say(feed)
        # An agent asks again and again: of what piled up, only its last request is still waited for
        for message in {m.agent: m for m in self.desk.messages if self._is_asked(m)}.values():
            self._cosign(message)
        while not self.over:
            self._follow()
            if self._is_full() or self.desk.client.life.renewal_due(now_s()):
                return

    def _is_full(self) -> bool:
        """Return whether so much came that the shared feed is better read anew, without the parts forgotten there."""
        return len(self.desk.messages) > FEED_MAX

    def _is_asked(self, message: Received) -> bool:
        return self.witness is not None and message.kind == Kind.KIND_CHECKPOINT and self.witness.is_asked(message)

    def _follow(self) -> None:
        """Read the stream for a while; then look for messages that have not come."""
        ends = SYSTEM.monotonic_s() + _LOOK_S
        try:
            for message, position in self.desk.client.watch(self.desk.position, _LOOK_S):
                self.desk.position = position
                self._take(message)
                if self.over or self._is_full():
                    return
        except CloudAwayError:
            if SYSTEM.monotonic_s() < ends - 1:
                raise
        self.desk.recall()
        self._say(self.desk.feed())

    def _take(self, message: Received) -> None:
        if message.kind == Kind.KIND_CHECKPOINT:
            if self._is_asked(message):
                self._cosign(message)
            return
        self.desk.take(message)
        self.desk.recall()
        self._say(self.desk.feed())

    def _say(self, feed: SharedFeed) -> None:
        for change in feed.changes:
            if self.states.get(change.sha256) == change.state:
                continue
            self.states[change.sha256] = change.state
            plan = change.plan
            start_by = f", start by {minute(plan.start_by)}" if change.state == "waiting" else ""
            self._line(
                f"{change.state}: {change.short} {plan.action.value} {plan.size_bucket.value} at {change.agent}, "
                f"class {plan.risk_class.value}, by {plan.requester}{start_by}",
                FeedEvent("change", change.short, change.state, plan.risk_class.value),
            )
        for missing in feed.missing:
            self._once(
                f"NO RECEIPT from {', '.join(missing.agents)} to the {feed.about(missing.sent)}",
                FeedEvent("no-receipt", missing.sent.sha256, "", ""),
            )
        for alarm in feed.alarms:
            self._once(alarm, FeedEvent("alarm", "", "forked", ""))
        for found in feed.not_verified:
            self._once(_not_verified(found), FeedEvent("alarm", "", "not-verified", ""))

    def _once(self, text: str, event: FeedEvent) -> None:
        if text not in self.told:
            self.told.add(text)
            self._line(text, event, alarm=True)

    def _cosign(self, message: Received) -> None:
        if self.witness is None:
            return
        answer = self.witness.answer(message, self.desk.own, now_s())
        if answer.body is not None:
            try:
                self.desk.client.submit(
                    Kind.KIND_COSIGNATURE, answer.body, message.agent, witness=self.witness.vkey.key_id
                )
            except CloudRefusedError as err:
                note(f"the cosignature was not taken: {err}")
        event = FeedEvent("alarm", "", "not-cosigned", "") if answer.alarm else None
        said = neutralize(answer.said)
        # A log that stands still is asked for again and again: that would bury what happens at night
        if answer.alarm or said not in self.told:
            self.told.add(said)
            self._line(said, event, alarm=answer.alarm)

    def _line(self, text: str, event: FeedEvent | None, *, alarm: bool = False) -> None:
        if self.as_json:
            known = event or FeedEvent("cosigned", "", "", "")
            typer.echo(json_text({**dataclasses.asdict(known), "text": text}))
        elif alarm:
            red(text)
        else:
            typer.echo(text)
        self.lines += 1
        if event is not None and self.words:
            problem = notify.run(self.words, event, os.environ)
            if problem is not None:
                note(problem)
