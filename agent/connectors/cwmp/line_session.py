"""The line to one CPE: requests to it, while a session of it is open, and notes of how it took them.

A CPE is on the line while a session of it is open. It comes and goes (it reboots in the middle of a firmware upgrade),
and the line stays: a read waits for the CPE to call in again. Every request passes its model's profile and its circuit
breaker, and every parameter that was read is kept. Secrets are not: CPEs return them empty, so that the ParameterKey
must prove a setting after a lost answer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from agent.connectors.base import LostError, NotSentError, Reply, UnreadableError
from agent.connectors.cwmp import limits
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.effects import Flash
from agent.connectors.cwmp.faults import CpeFault, fault_text, refused
from agent.connectors.cwmp.fields import Value as Typed
from agent.connectors.cwmp.identity import target_id
from agent.connectors.cwmp.images import Image
from agent.connectors.cwmp.methods import AcsRequest, CpeResponse
from agent.connectors.cwmp.reasons import CwmpReason
from agent.connectors.cwmp.structs import ParameterValue
from agent.cpe_model import addresses
from agent.cpe_model import limits as model_limits
from agent.cpe_model.breaker import Breaker, TaskSignature
from agent.cpe_model.known import CachedParameter, Cpe, CpeBook
from agent.cpe_model.profiles import SHIPPED, CpeProfile, ProfileBook, ProfileError, bound, normalize
from agent.cpe_model.sensitivity import Sensitivity, classify
from agent.cpe_model.values import TYPES
from agent.model import SecretRef, Seen, Target, Value
from agent.reasons import TargetReason
from agent.runtime.clock import Clock

_log = logging.getLogger(__name__)
_NOT_THERE = CpeFault.INVALID_PARAMETER_NAME
_OUR_KEY = re.compile("[0-9a-f]{12}-[0-9]+-[0-9]+[fr][0-9]*")
"""A ParameterKey as `cpe_session.step_key` gives them. A CPE that has one keeps them; another's may be a constant."""
Offer = Callable[[Mapping[str, str]], Awaitable[Image]]
"""Makes the image that an effect's arguments name ready to be fetched. Raises NotSentError where it is not that one."""


class CpeLine:
    """A CPE. `call` is its session that is open now."""

    def __init__(self, name: str, book: CpeBook, clock: Clock, offer: Offer, profiles: ProfileBook = SHIPPED) -> None:
        """Know a CPE that may not be on the line."""
        self.name = name
        self.target = Target(target_id(name), "cwmp")
        self.call: CwmpSession | None = None
        self._book, self._clock, self.offer, self._profiles = book, clock, offer, profiles
        self._came = trio.Event()
        self.news = 0
        """How often it told something by itself: its Informs, and the ends of its transfers."""
        self.awaits_reset = False
        """Whether it was told to reset itself."""
        self.begins: set[str] = set()
        """Objects of diagnostics that it was told to begin, while their state may be that of an earlier run."""
        self.made: dict[str, Mapping[str, str | None] | None] = {}
        """Rows that it made for us and that are not known to be filled: their path, or that of their table where the
        answer with their number was lost -> the fields that they were made with; None: not read."""
        self.flash: Flash | None = None
        """The firmware that it accepted, as long as it does not report that version."""
        self.breaker = Breaker.of(book.breaker(name))
        self._doubt: CwmpSession | None = None
        """The session whose request to set something may be under way still."""

    def begin_anew(self) -> None:
        """Drop all notes: the CPE is in the book no more, and another may come with its name."""
        self.awaits_reset, self.flash = False, None
        self.begins.clear()
        self.made.clear()
        self.breaker = Breaker.of(self._book.breaker(self.name))

    # --- who is on the line

    def attach(self, call: CwmpSession) -> None:
        """A session of the CPE is open, and the floor is ours."""
        if self.call is not None:
            # A CPE has one session (TR-069 section 3.7): the one on the older connection is dead
            self.call.hang_up()
        self.call = call
        self.told()

    def told(self) -> None:
        """Wake all tasks that wait for the CPE: it told something by itself."""
        self.news += 1
        self._came.set()
        self._came = trio.Event()

    def detach(self, call: CwmpSession) -> None:
        """That session is over."""
        if self.call is call:
            self.call = None

    @property
    def live(self) -> CwmpSession | None:
        """The open session of the CPE; None: it is not on the line."""
        return self.call if self.call is not None and not self.call.over.is_set() else None

    async def wait(self, seconds: float = limits.READ_WAIT_S) -> CwmpSession:
        """Return the CPE's session, waiting for it to call in.

        Raises:
            UnreadableError: it did not.
        """
        with trio.move_on_after(seconds):
            while self.live is None:
                await self._came.wait()
        if (call := self.live) is None:
            raise UnreadableError(f"{self.name} is not on the line", reason=TargetReason.NOT_ON_THE_LINE)
        return call

    async def wait_for_news(self, heard: int, seconds: float = limits.READ_WAIT_S) -> None:
        """Return once the CPE is on the line, or told more than `heard` times something by itself.

        Raises:
            UnreadableError: neither came about.
        """
        with trio.move_on_after(seconds):
            while self.live is None and self.news <= heard:
                await self._came.wait()
        await trio.lowlevel.checkpoint()
        if self.live is None and self.news <= heard:
            raise UnreadableError(f"{self.name} is not on the line", reason=TargetReason.NOT_ON_THE_LINE)

    def seen(self, value: Value) -> Seen:
        """Return a value as read now."""
        return Seen(value, int(self._clock.wall_s()))

    def cpe(self) -> Cpe:
        """Return the record of the CPE.

        Raises:
            UnreadableError: nothing is (any more).
        """
        found = self._book.find(self.name)
        if found is None:
            raise UnreadableError(f"there is no CPE {self.name}", reason=TargetReason.UNKNOWN_TARGET)
        return found

    def profile(self) -> CpeProfile:
        """Return the profile of the CPE's model and firmware, with names at places that stand nowhere yet.

        Raises:
            UnreadableError: its data model has another root than those that are known.
        """
        cpe = self.cpe()
        try:
            return self._profiles.of(cpe.oui, cpe.product_class, cpe.software, cpe.root)
        except ProfileError as err:
            raise UnreadableError(f"{self.name}: {err}", reason=CwmpReason.UNKNOWN_MODEL) from err

    def bound(self) -> CpeProfile:
        """Return the profile with its names at the places that are known from reads since the last reset.

        Raises:
            UnreadableError: its data model has another root than those that are known.
        """
        values = self._book.values(self.name)
        return bound(self.profile(), {path: known for path, known in values.items() if not known.before_reset})

    def named(self) -> frozenset[str]:
        """Return the names of the profile's vocabulary of which something is known."""
        profile = self.bound()
        found = (profile.name_of(path) for path in self._book.values(self.name))
        return frozenset(name for name in found if name is not None)

    async def read_told(self, what: str) -> Seen:
        """Return one of `addresses.TOLD`, which a CPE tells by itself, while the CPE is on the line.

        Raises:
            UnreadableError: it did not call in.
        """
        await self.wait()
        return self.seen(told_value(what, self.cpe()))

    # --- reading

    def value_of(self, path: str, known: CachedParameter) -> Value:
        """Return the value of a parameter that was read, as changes see it."""
        if known.value is not None:
            return {addresses.VALUE: normalize(known.type, known.value)}
        commit = self._book.secrets_set(self.name).get(path)
        return {addresses.VALUE: SecretRef(commit) if commit else ""}

    async def _values_and_key(self, call: CwmpSession, paths: Sequence[str]) -> dict[str, CachedParameter]:
        """Return parameters, having found out which secrets the CPE took in spite of a lost answer."""
        pending = self._book.pending(self.name) if any(classify(p) is Sensitivity.SECRET for p in paths) else ()
        key_path = self.parameter_key_path()
        found = await self.values(call, [*paths, *([key_path] if pending else [])])
        held = found.get(key_path)
        key = "" if held is None or held.value is None else held.value
        for each in pending:
            if key == each.key:
                await self._book.was_set(self.name, each.secrets)
            elif _OUR_KEY.fullmatch(key) and self._doubt is None:
                await self._book.was_not_set(self.name, each.key)
        return found

    def _pending_path(self) -> str:
        """Return a secret that was about to be set, and is not known to have been taken."""
        return next(path for pending in self._book.pending(self.name) for path in pending.secrets)

    async def settle_secrets(self, call: CwmpSession) -> None:
        """Find out whether secrets in doubt were taken.

        Raises:
            UnreadableError: the CPE hung up, or refused to be asked.
        """
        if self._book.pending(self.name):
            await self._values_and_key(call, [self._pending_path()])

    def parameter_key_path(self) -> str:
        """Return where the CPE keeps the ParameterKey of the last setting."""
        return f"{self.cpe().root}ManagementServer.ParameterKey"

    async def values(self, call: CwmpSession, paths: Sequence[str]) -> dict[str, CachedParameter]:
        """Return parameters by their full names; those that the CPE does not have are left out. Values that were read
        are kept.

        Raises:
            UnreadableError: the CPE hung up, or refused for another reason.
        """
        batch = self.profile().names_batch or limits.READ_BATCH
        found: dict[str, CachedParameter] = {}
        every = list(dict.fromkeys(paths))
        for at in range(0, len(every), batch):
            found.update(await self._some(call, every[at : at + batch]))
        if found:
            await self._keep(found)
        # Else a parameter that is gone would be shown for ever as it was last read
        for path in every:
            if path not in found:
                await self._book.forget(self.name, path)
        return found

    async def _some(self, call: CwmpSession, paths: Sequence[str]) -> dict[str, CachedParameter]:
        """Return some parameters in one request; where one is not there, in halves until that one is found."""
        answer = await self.asked(call, m.GetParameterValues(tuple(paths)))
        if isinstance(answer, m.GetParameterValuesResponse):
            return self._known(answer)
        code = answer.fault_code if isinstance(answer, m.Fault) else None
        if len(paths) == 1:
            if code == _NOT_THERE:
                return {}
            raise UnreadableError(f"{paths[0]}: {_said(answer)}", reason=TargetReason.REFUSED)
        # Any of the three may mean one name too many, or one that it lacks: the halves find out
        if code not in (_NOT_THERE, CpeFault.RESOURCES_EXCEEDED, CpeFault.INTERNAL_ERROR):
            raise UnreadableError(f"{len(paths)} parameters: {_said(answer)}", reason=TargetReason.REFUSED)
        half = len(paths) // 2
        return {**await self._some(call, paths[:half]), **await self._some(call, paths[half:])}

    async def below(self, call: CwmpSession, path: str) -> dict[str, CachedParameter]:
        """Return all parameters below a path that ends in a dot; nothing where the CPE does not have it.

        Raises:
            UnreadableError: the CPE hung up, refused, or must not be asked this (`CpeProfile.unsafe`).
        """
        profile = self.profile()
        if (why := profile.unsafe_call("GetParameterValues", path)) is not None:
            raise UnreadableError(f"{path} is not read of this model: {why}", reason=TargetReason.UNSAFE)
        if not profile.get_by_path:
            return await self._each_below(call, path)
        answer = await self.asked(call, m.GetParameterValues((path,)))
        if isinstance(answer, m.GetParameterValuesResponse):
            found, said = self._known(answer), len(answer.parameter_list)
            if said > model_limits.VALUES:
                await self._keep(found)
                few = f"{path}: {said} parameters, of which the first {model_limits.VALUES} are kept: read less of it"
                raise UnreadableError(few, reason=TargetReason.TOO_MANY)
            await self._keep(found, below=path)
            return found
        if isinstance(answer, m.Fault) and answer.fault_code == _NOT_THERE:
            await self._keep({}, below=path)
            return {}
        if isinstance(answer, m.Fault) and answer.fault_code == CpeFault.RESOURCES_EXCEEDED:  # it gives few at once
            return await self._each_below(call, path)
        raise UnreadableError(f"{path}: {_said(answer)}", reason=TargetReason.REFUSED)

    async def _each_below(self, call: CwmpSession, path: str) -> dict[str, CachedParameter]:
        """Return all parameters below a path, asked for by their full names."""
        listed = await self.names(call, path)
        found = await self.values(call, [name for name in listed if not name.endswith(".")])
        await self._keep(found, below=path)
        return found

    async def names(self, call: CwmpSession, path: str) -> dict[str, bool]:
        """Return name -> writable of all below a path; nothing where the CPE does not have it.

        Raises:
            UnreadableError: the CPE hung up, refused, or must not be asked this (`CpeProfile.unsafe`).
        """
        answer = await self.asked(call, m.GetParameterNames(path, next_level=False))
        if isinstance(answer, m.Fault) and answer.fault_code == _NOT_THERE:
            return {}
        if not isinstance(answer, m.GetParameterNamesResponse):
            raise UnreadableError(f"{path}: {_said(answer)}", reason=TargetReason.REFUSED)
        return {info.name: info.writable for info in answer.parameter_list}

    def _known(self, answer: m.GetParameterValuesResponse) -> dict[str, CachedParameter]:
        now_s = int(self._clock.wall_s())
        return {p.name: known(p, now_s) for p in answer.parameter_list[: model_limits.VALUES]}

    async def _keep(self, found: Mapping[str, CachedParameter], below: str = "") -> None:
        await self._book.learned(self.name, found, below=below)

    async def asked(self, call: CwmpSession, request: AcsRequest) -> CpeResponse | m.Fault:
        """Return the answer to a request that changes nothing.

        Raises:
            UnreadableError: the CPE hung up.
        """
        try:
            return await self.ask(call, request)
        except (NotSentError, LostError) as err:
            raise UnreadableError(str(err), reason=err.reason) from err

    async def forget(self, paths: Sequence[str]) -> None:
        """Take note that the CPE has some parameters no more."""
        for path in paths:
            await self._book.forget(self.name, path)

    def known_paths(self) -> Sequence[str]:
        """Return the full names of the parameters of which something is known."""
        return tuple(self._book.values(self.name))

    # --- asking

    async def ask(self, call: CwmpSession, request: AcsRequest) -> CpeResponse | m.Fault:
        """Return the answer to a request, if the CPE's profile and its breaker let it out.

        Raises:
            NotSentError: it was not sent. LostError: its fate is unknown.
        """
        signature = signature_of(request)
        self._refuse_unsafe(request)
        if (tripped := self.breaker.allowed(signature)) is not None:
            raise NotSentError(f"{tripped}: ispagent cpe clear {self.name}", reason=TargetReason.TRIPPED)
        if not call.over.is_set():  # else it is not sent, and no boot comes of it
            self.breaker.task(signature, self._clock.wall_s())
        return await call.ask(request)

    def _refuse_unsafe(self, request: AcsRequest) -> None:
        """Raise NotSentError for a call that must not be made of this model."""
        method = type(request).__name__
        try:
            profile = self.profile()
        except UnreadableError as err:
            raise NotSentError(str(err), reason=err.reason) from err
        for path in paths_of(request):
            if (why := profile.unsafe_call(method, path)) is not None:
                raise NotSentError(f"{method} {path} is not asked of this model: {why}", reason=TargetReason.UNSAFE)

    async def booted(self) -> None:
        """Take note that the CPE booted: the last request may be why."""
        before = self.breaker.rows()
        tripped = self.breaker.boot(self._clock.wall_s())
        if tripped is not None:
            _log.warning("cwmp-tripped", extra={"target": self.target.id, "task": str(tripped.signature)})
        if self.breaker.rows() != before:
            await self._book.keep_breaker(self.name, self.breaker.rows())

    def typed(self, path: str, text: str) -> ParameterValue:
        """Return a parameter with its type and in the spelling that the CPE's model likes."""
        profile = self.profile()
        known_ = self._book.values(self.name, [path]).get(path)
        if known_ is not None and known_.type in TYPES:
            kind = known_.type
        else:  # some CPE say no type, or one of their own
            mapped = self.bound().mapped_at(path)
            kind = mapped.kind if mapped is not None else "string"
        return ParameterValue(path, Typed(profile.write_value(kind, text), kind))

    async def set_values(self, call: CwmpSession, values: Sequence[ParameterValue], key: str) -> Reply:
        """Set parameters in one request.

        Raises:
            NotSentError: it was not sent. LostError: its fate is unknown.
        """
        answer = await self.ask(call, m.SetParameterValues(tuple(values), key))
        if isinstance(answer, m.Fault):
            await self.worked("set-parameters", answer)
            names = [value.name for value in values]
            return refused(answer, names if any(classify(name) is Sensitivity.SECRET for name in names) else None)
        later = isinstance(answer, m.SetParameterValuesResponse) and answer.status == 1
        return Reply(
            True, TargetReason.OK_LATER if later else TargetReason.OK, "the CPE applies it later" if later else ""
        )

    # --- notes

    async def expect_reset(self) -> None:
        """Take note that the CPE was asked to forget all it was told, its password too."""
        await self._book.expect_reset(self.name, int(self._clock.wall_s()) + limits.RESET_S)

    async def expect_no_reset(self) -> None:
        """Take note that it was not asked to after all."""
        await self._book.expect_reset(self.name, 0)

    async def worked(self, workflow: str, answer: CpeResponse | m.Fault) -> None:
        """Take note of whether a workflow works with this model."""
        fault = isinstance(answer, m.Fault)
        await self.evidence(workflow, not fault, _code(answer) if isinstance(answer, m.Fault) else "")

    async def evidence(self, workflow: str, worked: bool, detail: str, software: str | None = None) -> None:
        """Take note that a workflow works with this model, or does not. `software`: of which firmware, else today's."""
        await self._book.evidence(self.name, workflow, worked, detail, software)

    async def look_at_flash(self, cpe: Cpe) -> None:
        """Take note of the fate of the firmware that it accepted, from its present report."""
        if self.flash is None:
            return
        if cpe.software == self.flash.version:
            await self.evidence("firmware", True, "", self.flash.before)
            self.flash = None
        elif self.flash.reported:
            which = "the old version" if cpe.software == self.flash.before else f"version {cpe.software[:40]}"
            await self.evidence("firmware", False, f"TransferComplete without a fault, and {which}", self.flash.before)
            self.flash = None


def told_value(what: str, cpe: Cpe) -> Value:
    """Return a CPE's word on itself: one of `addresses.TOLD`."""
    match what:
        case addresses.BOOTS:
            return {"count": str(cpe.boots)}
        case addresses.RESETS:
            return {"count": str(cpe.resets)}
        case _:
            return {"version": cpe.software}


def known(parameter: ParameterValue, now_s: int) -> CachedParameter:
    """Return a parameter as it is kept: a secret's value never is."""
    text = parameter.value.text
    if classify(parameter.name) is Sensitivity.SECRET:
        return CachedParameter(None, parameter.value.type, now_s)
    if len(text) > model_limits.VALUE_CHARS:
        text = f"({len(text)} characters)"
    return CachedParameter(text, parameter.value.type, now_s)


def signature_of(request: AcsRequest) -> TaskSignature:
    """Return the key by which two requests are the same to the breaker: the method, and its subject."""
    match request:
        case m.GetParameterValues(parameter_names=names):
            what = _first(names)
        case m.GetParameterNames(parameter_path=path):
            what = path
        case m.SetParameterValues(parameter_list=listed):
            what = _first([parameter.name for parameter in listed])
        case m.AddObject(object_name=name) | m.DeleteObject(object_name=name):
            what = name
        case _:
            what = ""
    return TaskSignature(type(request).__name__, what)


def _first(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more" if names else ""


def paths_of(request: AcsRequest) -> Sequence[str]:
    """Return the subject of a request: full names, or paths; "" where it has none."""
    match request:
        case m.GetParameterValues(parameter_names=names):
            return names
        case m.SetParameterValues(parameter_list=listed):
            return [each.name for each in listed]
        case m.GetParameterNames(parameter_path=path):
            return [path]
        case m.AddObject(object_name=name) | m.DeleteObject(object_name=name):
            return [name]
        case _:
            return [""]


def _code(fault: m.Fault) -> str:
    """Return a fault for the matrix of all CPE of a model: no word of this one's."""
    return fault_text(m.Fault(fault.fault_code))


def _said(answer: CpeResponse | m.Fault) -> str:
    return fault_text(answer) if isinstance(answer, m.Fault) else f"expected values, got a {type(answer).__name__}"
