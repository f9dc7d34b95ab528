"""Effects at a CPE that cannot be taken back: reboot, factory reset, firmware, diagnostics. How each is sent, and
proven.

* reboot: Reboot; it says `1 BOOT` again (TR-069 annex A.3.2.9).
* factory-reset: FactoryReset; it says `0 BOOTSTRAP` again (A.4.1.6).
* firmware: Download; its SoftwareVersion is the wanted one (A.3.2.8). A TransferComplete is no proof; a fault in it
  ends the waiting.
* diagnose: SetParameterValues of a diagnostic's object; the run has our ParameterKey, and its state is over. It was
  seen not to be since, or the CPE said `8 DIAGNOSTICS COMPLETE`: some say OK and begin none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

import trio

from agent.connectors.base import DriftedError, NotSentError, Reply, UnreadableError
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.effects import STATE, Flash
from agent.connectors.cwmp.faults import refused
from agent.connectors.cwmp.line_session import CpeLine
from agent.connectors.cwmp.methods import AcsRequest
from agent.cpe_model import addresses
from agent.cpe_model.addresses import address
from agent.cpe_model.effects import METHODS, UNKNOWN_VERSION
from agent.cpe_model.known import CachedParameter
from agent.model import Address, Effect, Seen
from agent.reasons import TargetReason

_WORKFLOWS: Final[Mapping[str, str]] = {"download": "download-test", "upload": "upload-test"}
"""The workflow of the matrix that a test is, where it has another name."""
_FAILED: Final = frozenset({"Error", "Error_Internal", "Error_Other"})
"""States that say something of the CPE. The states of other diagnostics are of the host, or of its name."""
_NOT_OVER: Final = frozenset({"", "None", "Requested"})


async def bind(line: CpeLine, effect: Effect, now_s: int) -> Mapping[Address, Seen]:
    """Return the addresses that prove an effect, with the value that must change, or that must be read then.

    Raises:
        UnreadableError: nothing is known of the CPE.
    """
    match effect.verb:
        case "reboot":
            return {address(line.target.id, addresses.BOOTS): await line.read_told(addresses.BOOTS)}
        case "factory-reset":
            return {address(line.target.id, addresses.RESETS): await line.read_told(addresses.RESETS)}
        case "firmware":
            return {address(line.target.id, addresses.FIRMWARE): Seen({"version": effect.args["version"]}, now_s)}
        case "diagnose":
            run = address(line.target.id, addresses.RUN + effect.args["object"])
            return {run: Seen({"key": effect.key, "over": "yes"}, now_s)}
        case _:
            return {}


async def send(line: CpeLine, call: CwmpSession, effect: Effect) -> Reply:
    """Have a CPE do something.

    Raises:
        NotSentError, DriftedError: nothing was sent. LostError: the CPE hung up.
    """
    if (method := METHODS.get(effect.verb)) is None:
        raise NotSentError(f"a CPE cannot be told to {effect.verb}", reason=TargetReason.UNSUPPORTED)
    try:
        why = line.profile().unsafe_call(method)
    except UnreadableError as err:
        raise NotSentError(str(err), reason=err.reason) from err
    if why is not None:
        raise NotSentError(f"{method} is not asked of this model: {why}", reason=TargetReason.UNSAFE)
    match effect.verb:
        case "reboot":
            return await _ask(line, call, effect.verb, m.Reboot(effect.key))
        case "factory-reset":
            return await _reset(line, call, effect)
        case "firmware":
            return await _download(line, call, effect)
        case _:
            return await _diagnose(line, call, effect)


async def _reset(line: CpeLine, call: CwmpSession, effect: Effect) -> Reply:
    """Have a CPE forget everything. That it may come without its password holds only where it may have been told to."""
    await line.expect_reset()
    line.awaits_reset = told = True
    try:
        reply = await _ask(line, call, effect.verb, m.FactoryReset())
        told = reply.accepted
    except NotSentError:
        told = False
        raise
    finally:
        if not told:
            line.awaits_reset = False
            # Also when cancelled: for an hour from here on the shared password would do for this CPE's name
            with trio.CancelScope(shield=True):
                await line.expect_no_reset()
    return reply


async def _ask(line: CpeLine, call: CwmpSession, workflow: str, request: AcsRequest) -> Reply:
    answer = await line.ask(call, request)
    if isinstance(answer, m.Fault):
        await line.worked(workflow, answer)
        return refused(answer)
    call.release()  # it does so when the session is over
    return Reply(True, TargetReason.ACCEPTED)


async def _download(line: CpeLine, call: CwmpSession, effect: Effect) -> Reply:
    runs, was = line.cpe().software or UNKNOWN_VERSION, effect.args["from"]
    if runs != was:
        now = {address(line.target.id, addresses.FIRMWARE): line.seen({"version": runs})}
        raise DriftedError(f"it runs {runs}, no more {was}", observed=now)
    image = await line.offer(effect.args)
    request = m.Download(
        command_key=effect.key,
        file_type=effect.args["type"],
        url=image.url,
        username="",  # the token in the URL admits the fetch: no password stays in the CPE
        password="",
        file_size=image.size_bytes,
        target_file_name="",
        delay_seconds=0,
        success_url="",
        failure_url="",
    )
    reply = await _ask(line, call, effect.verb, request)
    if reply.accepted:
        line.flash = Flash(effect.key, effect.args["version"], line.cpe().software)
    return reply


async def _diagnose(line: CpeLine, call: CwmpSession, effect: Effect) -> Reply:
    path = effect.args["object"]
    given = {name: text for name, text in effect.args.items() if name not in ("object", "workflow")}
    values = [line.typed(path + name, text) for name, text in given.items()]
    # In one request: to write another parameter of the object ends the run (TR-181, DiagnosticsState)
    reply = await line.set_values(call, [*values, line.typed(path + STATE, "Requested")], effect.key)
    if reply.accepted:
        line.begins.add(path)
        with contextlib.suppress(UnreadableError):
            _note_state(line, path, (await line.values(call, [path + STATE])).get(path + STATE))
        call.release()  # some begin only then (TR-069 annex A.4.1, "8 DIAGNOSTICS COMPLETE")
    return reply


def _note_state(line: CpeLine, path: str, state: CachedParameter | None) -> bool:
    """Return whether a diagnostic is over. The state of an earlier run proves nothing: see `CpeLine.begins`."""
    if state is None or (state.value or "") in _NOT_OVER:
        line.begins.discard(path)
        return False
    return path not in line.begins


async def _ran(line: CpeLine, path: str, state: str) -> None:
    """Take note of whether a test works with this model: not whether the host that it asked answered."""
    test = next((d for d in line.profile().diagnostics if d.path == path), None)
    if test is not None and (state in test.complete or state in _FAILED):
        works = state in test.complete
        await line.evidence(_WORKFLOWS.get(test.name, test.name), works, "" if works else state)


async def run_seen(line: CpeLine, what: str) -> Seen:
    """Return how a diagnostic stands: under which key it was begun, and whether it is over.

    The results of one that is over are kept, if the CPE gives them.

    Raises:
        UnreadableError: the CPE is not on the line, or hung up.
    """
    path = what.removeprefix(addresses.RUN)
    key_path = line.parameter_key_path()
    call = await line.wait()
    found = await line.values(call, [path + STATE, key_path])
    state, key = found.get(path + STATE), found.get(key_path)
    over = _note_state(line, path, state)
    if over:
        try:
            await line.below(call, path)
        except UnreadableError:  # that it ran is proven, whether or not the CPE gives its results
            if call.over.is_set():
                raise
        await _ran(line, path, state.value or "" if state is not None else "")
    return line.seen({"key": (key.value or "") if key else "", "over": "yes" if over else "no"})
