"""Routes of `doctor`: everything that the agent depends on is checked, and each fault names its remedy."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace

from agent.api.call import ApiCall, ApiParts, CallerRole, Route
from agent.api.overview import overview
from agent.billing import states
from agent.billing_model.errors import BillingState
from agent.connectors.base import Check, CheckResult
from agent.inventory import book
from agent.runtime.http import Response
from trust.document import Trust
from trust.policy import Action, RiskClass

OK, WARN, FAIL, NOT_CHECKED = CheckResult.OK, CheckResult.WARNING, CheckResult.FAILS, CheckResult.NOT_CHECKED
SECRETS = "secrets"
SYNC_SLOW_S = 0.05
"""A disk that takes longer to make a write durable slows every step down."""


async def _doctor(call: ApiCall) -> Response:
    p = call.parts
    targets = [_let_out(check) for check in await p.checkup.targets()]
    found = [*targets, *await p.checkup.sample(book.services(p.store.reader).values())]
    told = {check.mend for check in found}
    found += [check for check in _own(p) if check.about != SECRETS or check.mend not in told]
    found.append(await _sync(p))
    return Response(200, {"checks": [check_json(check) for check in found]})


def _let_out(check: Check) -> Check:
    """Return the check of a target; where the kernel refused the packet, with the setting that lets it out.

    The unit of the package lets the agent reach private networks only (`IPAddressAllow=`); Linux then says EPERM.
    """
    if check.result is not FAIL or os.strerror(errno.EPERM) not in check.detail:
        return check
    mend = "systemctl edit ispagent: [Service] IPAddressAllow=ITS ADDRESS; then systemctl restart ispagent"
    return replace(check, mend=mend)


def check_json(check: Check) -> dict[str, object]:
    """Return a check for programs."""
    return {
        "about": check.about,
        "what": check.what,
        "result": check.result.value,
        "detail": check.detail,
        "mend": check.mend,
    }


def _own(p: ApiParts) -> Iterator[Check]:
    """Give the checks of the agent itself."""
    now_s, seen, pinned = p.clock.wall_s(), overview(p), p.trust.pinned
    halted = p.clock_watch.halted()
    if halted is None:
        yield Check("agent", "clock", OK, "it goes on without a jump")
    else:
        yield Check("agent", "clock", FAIL, f"it jumped by {halted:.0f} s", "check it, then ispagent clock accept")
    if problem := p.host.disk_problem():
        yield Check("agent", "disk", FAIL, problem, "make room there")
    else:
        yield Check("agent", "disk", OK, f"{seen.disk_free // 2**20} MiB of {seen.disk_size // 2**20} MiB are free")
    word, detail, mend = p.backups.check()
    yield Check("agent", "backup", CheckResult(word), detail, mend)
    if problem := p.importer.billing_problem():
        yield Check("billing", "file", FAIL, problem, "ispagent subscriber import --dry-run FILE says what is wrong")
    elif any(source.name == "billing" for source in seen.sources):
        yield Check("billing", "file", OK, "it was read, every line of it")
    elif not p.billing.readers:
        yield Check("billing", "file", NOT_CHECKED, "none is configured: nobody can be suspended by what billing says")
    for name, reader in p.billing.readers.items():
        yield _source(p, name, reader.payments_problem)
    if pinned is None:
        yield Check(
            "trust", "document", FAIL, "none is installed: nothing can be approved", "ispagent trust install FILE"
        )
    elif warning := p.trust.warning(now_s):
        result = FAIL if pinned.trust.expires <= now_s else WARN
        yield Check("trust", "document", result, warning, "ispcloud trust next trust.json")
    else:
        days = int((pinned.trust.expires - now_s) // 86_400)
        yield Check("trust", "document", OK, f"version {pinned.trust.version} holds for {days} days more")
    witnessed = p.witnessed(1)
    yield Check("trust", "witnesses", FAIL if witnessed.startswith("CONTRADICTED") else OK, f"the log is {witnessed}")
    missing = sorted(p.secrets.wanted - set(p.secrets.names()))
    for name in missing:
        yield Check(SECRETS, name, FAIL, "it is not set", f"ispagent secret set {name}")
    if p.cpes is not None and (waiting := p.cpes.cpes.count_without_secrets()):
        text = f"{waiting} that were let in get no secrets before a change accepts them"
        mend = "ispagent cpe accept --where state=accepted"
        if pinned is not None and not _allows(pinned.trust, Action.CPE_ACCEPT):
            mend = f"a trust version whose class provision has cpe-accept (ispcloud trust policy), then {mend}"
        yield Check("cpe", "acceptance", WARN, text, mend)
    for silent in p.lines.last.silent_credentials:
        mend = "ispagent secret set NAME, or the way to these devices"
        yield Check(f"credential {silent.name}", "silence", FAIL, silent.text(now_s), mend)
    if seen.connected is not None:
        text = "connected" if seen.connected else f"not connected: {p.cloud().get('problem') or 'dialing'}"
        yield Check(
            "cloud", "connection", OK if seen.connected else WARN, text, "" if seen.connected else "ispagent cloud show"
        )


def _allows(trust: Trust, action: Action) -> bool:
    return any(action in policy.actions for policy in trust.policy if policy.risk_class is RiskClass.PROVISION)


def _source(p: ApiParts, name: str, payments_problem: str) -> Check:
    judged = p.billing.now(name)
    if judged.state is not BillingState.FRESH:
        mend = "accept" if states.acceptable(judged.state) else "check"
        text = f"{judged.state.value}: {judged.detail}: nobody is suspended by it"
        return Check("billing", name, FAIL, text, f"ispagent billing {mend} {name}")
    if payments_problem:
        return Check("billing", name, WARN, f"payments: {payments_problem}", f"ispagent billing check {name}")
    return Check("billing", name, OK, p.billing.state_text(name))


async def _sync(p: ApiParts) -> Check:
    try:
        took_s = await p.host.sync_s()
    except OSError as err:
        return Check("agent", "fsync", FAIL, f"the disk takes no write: {err.strerror}", "make room, check the disk")
    text = f"a write is durable in {took_s * 1000:.1f} ms"
    if took_s <= SYNC_SLOW_S:
        return Check("agent", "fsync", OK, text)
    return Check("agent", "fsync", WARN, f"{text}, expected {SYNC_SLOW_S * 1000:.0f} ms", "a faster disk for state_dir")


ROUTES: tuple[Route, ...] = (Route("GET", "/v1/doctor", CallerRole.OPERATOR, "", "checks", _doctor),)
