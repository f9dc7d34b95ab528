"""Judges a RADIUS site that is over, by what others than the agent saw: the database's triggers, FreeRADIUS, the NAS.

| rule | what must hold |
|---|---|
| `claim` | each state that an item came into was true at some instant since it left the state before |
| `unannounced` | the agent wrote no row, and ended no session, that its log had not announced just then |
| `twice` | a row is written, and a session ended, at most once for an announced step |
| `stranger` | the agent writes the marker's rows of the services that it was asked about, and no other row |
| `not-done` | an item that says that nothing was done has no write of its own that stands |
| `kicked` | no session was ended that began after the last write and already had what that wants |
| `radius` | FreeRADIUS' answer to a login is the one that the rows make |
| `forgotten` | at rest, the next login of each service is as the agent has it on record |
| `at-large` | at rest, no session of an item that is applied is otherwise |

Where staff changed a line meanwhile, nothing is claimed of it: `claim`, `forgotten` and `at-large` pass it over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from lab.population import MARKER_GROUP
from lab.truth import LineState, NextLogin
from tests.sim.parts.radius_rules import CLAIMS, LAST_S
from tests.sim.parts.record_rules import REJECTED
from tests.torture.agent_file import Announced, Claimed
from tests.torture.announced import SLACK_S, Announcements
from tests.torture.audit import RowChange
from tests.torture.radius_site import RadiusSite
from tests.torture.rounds import Lives
from tests.year.claims import STAYS_REJECTED, ItemFact, Wanted, false_at_end

NOT_DONE = ("stale", "skipped", "cancelled", "expired", "excluded", "blocked", "superseded", "planned", "waiting")


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that a NAS ended because it was asked to."""

    at: float
    login: str
    session_id: str
    began: float
    walled: bool


@dataclass
class _Judge:
    """`lives`: the agents whose word is judged; `steps`: what their logs announced."""

    site: RadiusSite
    lives: Sequence[Lives]
    steps: Sequence[Announced] = ()
    since: float = float("-inf")
    """What was before counts no more: a log that was put back knows nothing of it."""

    def __post_init__(self) -> None:
        self._service = {login: ref for ref, login in self.site.logins.items()}
        self._log = Announcements(self.site.round, self.steps)

    def _foreign(self, login: str, since: float, until: float) -> bool:
        times = self.site.foreign.get(login, ())
        return any(since - SLACK_S <= at <= until + SLACK_S for at in times)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def rows(self) -> dict[tuple[str, str], list[RowChange]]:
        """Judge what the agent wrote; return its writes by change and service."""
        site = self.site
        written: dict[tuple[str, str], list[RowChange]] = {}
        for change in site.audit.changes:
            if not change.by_agent or change.at < self.since:
                continue
            service = self._service.get(change.login, "")
            if not service or change.table != "radusergroup" or MARKER_GROUP not in (change.was + change.now_is):
                site.round.wrong("stranger", change.text(), service or change.login)
                continue
            step = self._log.write(service, change.at, partial(_fits, change), change.text(), change.mark)
            if step is not None:
                written.setdefault((step.change, service), []).append(change)
        self._replay()
        return written

    def _replay(self) -> None:
        """Judge each login's markers, one change after the other: none may be put beside another."""
        marked: dict[str, int] = {}
        for change in self.site.audit.changes:
            if change.table != "radusergroup" or not (service := self._service.get(change.login, "")):
                continue
            had = marked.get(change.login, 0)
            now = had + change.now_is.startswith(MARKER_GROUP + "/") - change.was.startswith(MARKER_GROUP + "/")
            marked[change.login] = now
            if change.by_agent and now > 1 and now > had and change.at >= self.since:
                self.site.round.wrong("twice", f"{change.text()}: the login was marked already", service)

    # --- sessions -----------------------------------------------------------------------------------------------------

    def _ended(self) -> Iterable[EndedSession]:
        for nas in self.site.isp.nas.values():
            for one in nas.received:
                if one.outcome != "ack" or one.login not in self._service or one.at < self.since:
                    continue
                before = self.site.history.during(one.login, one.at - 0.05, one.at)
                known = {s.session_id: s for state in before for s in state.sessions}
                if (session := known.get(one.session_id)) is not None:
                    yield EndedSession(one.at, one.login, one.session_id, session.began, session.walled)

    def sessions(self) -> None:
        """Judge which sessions were ended."""
        wrong = self.site.round.wrong
        for one in self._ended():
            service = self._service[one.login]
            steps = self._log.effects(service, one.at, f"session {one.session_id} was ended")
            if not steps or any(step.action == "disconnect" for step in steps):
                continue
            writes = [c for c in self.site.audit.changes if c.by_agent and c.login == one.login and c.at <= one.at]
            if not writes or one.began <= writes[-1].at or self._foreign(one.login, writes[-1].at, one.at):
                continue
            if one.walled is bool(writes[-1].now_is):
                age_s = one.at - one.began
                said = f"session {one.session_id} was ended although it was as wanted: it began {age_s:.2f} s before"
                wrong("kicked", said, service, leaf=steps[-1].leaf)

    # --- claims -------------------------------------------------------------------------------------------------------

    def claims(self) -> None:
        """Judge each state that an item came into."""
        history = self.site.history
        for claim in (c for lives in self.lives for c in lives.file.claims):
            login = self.site.logins.get(claim.service, "")
            if (
                claim.state not in CLAIMS
                or not login
                or claim.at < self.since
                or self._foreign(login, claim.before_at, claim.at)
            ):
                continue
            run = list(history.during(login, claim.before_at - SLACK_S, claim.at))
            last = list(history.during(login, claim.at - LAST_S, claim.at))
            reason = STAYS_REJECTED if claim.detail.startswith(REJECTED) else claim.reason
            fact = ItemFact(claim.state, reason, claim.detail)
            if false := false_at_end(fact, Wanted(claim.suspended), run, last):
                said = f"{claim.change}: {false} ({claim.reason}: {claim.detail})"
                self.site.round.wrong("claim", said, claim.service, _text(run), claim.leaf)

    def not_done(self, written: Mapping[tuple[str, str], Sequence[RowChange]]) -> None:
        """Judge the items that say that nothing was done, or that it was not."""
        for item in (i for lives in self.lives for i in lives.file.items()):
            writes = written.get((item.change, item.service), ())
            stands = sum(1 if w.now_is else -1 for w in writes)
            if (item.state in NOT_DONE and writes) or (item.state == "not-applied" and stands):
                said = f"{item.change} is {item.state} ({item.reason}: {item.detail})"
                self.site.round.wrong("not-done", f"{said}; {', '.join(w.text() for w in writes)}", item.service)

    # --- at rest ------------------------------------------------------------------------------------------------------

    def rest(self, answers: Mapping[str, NextLogin | None]) -> None:
        """Judge what holds now, by FreeRADIUS' answers."""
        site, wrong = self.site, self.site.round.wrong
        latest: dict[str, Claimed] = {}
        (lives,) = self.lives
        for one in lives.file.claims:
            latest[one.service] = one
        suspended = lives.file.suspended()
        for service, login in site.logins.items():
            state, answer = site.history.last(login), answers[login]
            if answer is None:
                wrong("radius", "FreeRADIUS does not answer", service)
                continue
            if (answer.accepted, answer.walled) != (state.next.accepted, state.next.walled):
                wrong("radius", f"FreeRADIUS answers {answer}", service, state.text())
            claim = latest.get(service)
            if claim is None or claim.state not in CLAIMS or claim.reason == STAYS_REJECTED:
                continue
            if self._foreign(login, claim.before_at, float("inf")) or claim.detail.startswith(REJECTED):
                continue
            wanted, now = Wanted(service in suspended), LineState(state.sessions, answer)
            if not wanted.next_fits(now):
                wrong("forgotten", f"on record as {wanted.text()}", service, now.text(), claim.leaf)
            if claim.state == "applied" and not wanted.sessions_fit(now):
                said = f"{claim.change} is applied ({claim.reason}: {claim.detail})"
                wrong("at-large", said, service, now.text(), claim.leaf)


def _fits(change: RowChange, step: Announced) -> bool:
    """Tell whether a step is to put the marker, or to take it away, as was done."""
    return (f'"group:{MARKER_GROUP}"' in step.after) is bool(change.now_is)


def _text(states: Iterable[LineState]) -> str:
    return " | ".join(dict.fromkeys(state.text() for state in states)) or "nothing known"


async def judge_rest(site: RadiusSite, *others: Lives) -> None:
    """Judge a site at rest, by the record of its agent and of others."""
    for service in site.services:
        await site.history.sample(service.login)
    answers = await site.logins_now()
    for lives in (site.lives, *others):
        _Judge(site, [lives]).rest(answers)


async def judge_all(site: RadiusSite, *others: Lives, since: float = float("-inf")) -> None:
    """Judge everything that happened since a moment."""
    await trio.to_thread.run_sync(site.audit.read)
    lives = site.lives, *others
    judge = _Judge(site, lives, [step for one in lives for step in one.file.steps()], since)
    judge.not_done(judge.rows())
    judge.sessions()
    judge.claims()
