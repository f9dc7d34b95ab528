"""The plan of a verb for one CPE: steps from its known values, or why it is left alone. Pure.

A CPE is planned for from its last known values, each with its age: it calls in when it likes. A parameter that was
never read is not written, since nothing could tell whether somebody else changed it: `ispagent cpe refresh` reads it
first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agent.age import age_text
from agent.cpe.images import model_name
from agent.cpe.reasons import CpeSkipReason
from agent.cpe_model import addresses, bounds, limits, rows
from agent.cpe_model.addresses import TableRow, address, row_address, what_of
from agent.cpe_model.effects import DIAGNOSE, FACTORY_RESET, FIRMWARE, METHODS, REBOOT, UNKNOWN_VERSION, WITHIN_S
from agent.cpe_model.errors import BadAddressError
from agent.cpe_model.known import Acceptance, CachedParameter, Cpe
from agent.cpe_model.manager import ImageFile
from agent.cpe_model.presentable import presentable
from agent.cpe_model.profiles import CpeProfile, normalize
from agent.cpe_model.sensitivity import Sensitivity, classify
from agent.cpe_model.values import TYPES
from agent.cpe_model.vocabulary import Mapped, UnknownNameError, UnplacedNameError
from agent.model import ABSENT, Effect, ProofKind, Replay, SecretRef, Seen, Step, Transition, Value
from agent.reasons import SkipReason
from agent.services.verbs import Leave
from trust import chance

MANAGEMENT: Final = "ManagementServer."
NO_UNDO: Final = "cannot be undone"
_ROW: Final = re.compile(r"(?P<table>[^\[\]]+\.)\[(?P<key>[^\]]+)\]")
_CLIPPED: Final = re.compile(r"\([0-9]+ characters\)")
"""The word for a value that is too long to be kept (`line_session.known`)."""
_REQUEST_USER: Final = frozenset({"ConnectionRequestUsername", "ConnectionRequestPassword"})
_KEEPS_US: Final = _REQUEST_USER | {"URL", "Username", "Password", "EnableCWMP", "PeriodicInformEnable"}
"""Below ManagementServer: the parameters that a CPE needs to find us and to be let in, and that we need to call it."""
_INTERVAL: Final = "PeriodicInformInterval"
_SELDOM_S: Final = 86_400
"""A CPE that calls in less often than once a day is as good as lost."""


@dataclass(frozen=True, slots=True)
class CpeSubject:
    """A CPE, its target's id, and its known values. `profile` None: nothing is known of such a model."""

    cpe: Cpe
    target: str
    values: Mapping[str, CachedParameter]
    profile: CpeProfile | None
    taken: Mapping[str, str] = field(default_factory=dict)
    """The commitment of each secret that it took last, by path."""
    callable: bool = False
    """Whether it can be asked to call in."""
    read_whole_s: Callable[[str], int] = lambda _: 0
    """When all below a path was read last, unix seconds; 0: never since it was reset."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The settings asked of each CPE.

    `settings`: name or path -> text, `+TABLE[field=text,…]` -> `field=text,…`, `-TABLE[field=text,…]` -> "".
    `commit`: (name or path, path) -> a new commitment to the secret to set, None: none was given. `secrets`: the names
    of those that were given. `image`: of a firmware, and `version` the SoftwareVersion that it then reports.
    `diagnostic`: its name, `arguments` by their words.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    commit: Callable[[str, str], str | None] = lambda _name, _path: None
    secrets: Collection[str] = ()
    image: ImageFile | None = None
    version: str = ""
    diagnostic: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CpePlan:
    """Steps for one CPE. `management`: they touch parameters that the CPE needs to find us. `display`: texts for its
    preview.
    """

    steps: tuple[Step, ...]
    display: Mapping[str, str]
    management: bool = False
    rests_on: tuple[str, ...] = ()
    """Parameters by which the names were found: they must read as they do when it is sent."""


def usable(subject: CpeSubject) -> Leave | None:
    """Return why nothing is done with a CPE, or None."""
    cpe = subject.cpe
    if cpe.trust is not Acceptance.ACCEPTED:
        return Leave(CpeSkipReason.NOT_ACCEPTED, f"{cpe.trust.value}: {cpe.why}", blocked=True)
    if subject.profile is None:
        return Leave(CpeSkipReason.UNKNOWN_MODEL, "its data model has neither root that is known", blocked=True)
    return None


def withheld(cpe: Cpe) -> Leave | None:
    """Return why no secret goes into a CPE, or None."""
    if cpe.takes_secrets:
        return None
    how = f"ispagent cpe accept {cpe.name}{'' if cpe.service else ' --service SERVICE'}, and somebody else approves it"
    whose = f"for {cpe.service}" if cpe.service else "and no certificate of its own proves it"
    why = f"no secret goes into it: no approved change accepted it {whose}: {how}"
    return Leave(CpeSkipReason.NOT_ASSURED, why, blocked=True)


def hands_out(steps: Sequence[Step]) -> bool:
    """Return whether steps set a secret."""
    writes = (write for step in steps if not isinstance(step.do, Effect) for write in step.do)
    return any(_sets_secret(write) for write in writes)


def _sets_secret(write: Transition) -> bool:
    return write.after is not ABSENT and any(isinstance(field_, SecretRef) for field_ in write.after.values())


# --- parameters and rows ----------------------------------------------------------------------------------------------


def set_values(subject: CpeSubject, wanted: Wanted, now_s: int) -> CpePlan | Leave:
    """Return the step that sets parameters, and one for each row of a table."""
    profile = subject.profile
    if profile is None:
        return Leave(CpeSkipReason.UNKNOWN_MODEL, "its data model has neither root that is known", blocked=True)
    writes: list[Transition] = []
    steps: list[tuple[Transition, ...]] = []
    for name, text in wanted.settings.items():
        is_row = name[:1] in ("+", "-")
        if is_row and name in wanted.secrets:
            return Leave(CpeSkipReason.SECRET, f"{name}: a row is given by its fields, not by a secret", blocked=True)
        made = _row(subject, name, text, now_s) if is_row else _parameter(subject, profile, name, text, wanted)
        if isinstance(made, Leave):
            return made
        if made is None:
            continue
        if any(made.address == other.address for other in (*writes, *(t for s in steps for t in s))):
            return Leave(
                CpeSkipReason.TWICE,
                f"{name}: expected each parameter once, got it by another name as well",
                blocked=True,
            )
        if is_row:
            steps.append((made,))
        else:
            writes.append(made)
    if (lost := _locked_out(subject, writes)) is not None:
        return lost
    if writes and profile.values_batch and len(writes) > profile.values_batch:
        few = f"this model takes {profile.values_batch} parameters at once, and they go together or not at all"
        return Leave(CpeSkipReason.TOO_MANY, f"{few}: got {len(writes)}", blocked=True)
    # Parameters go out in one request, which a CPE takes whole or not at all; a row takes two, so it is its own step
    every = ([tuple(writes)] if writes else []) + steps
    if not every:
        paths = {profile.path(name) or name for name in wanted.settings}
        tables = tuple(_table(profile, name[1:].partition("[")[0]) for name in paths if name[:1] in ("+", "-"))
        read = [k.at_s for path, k in subject.values.items() if path in paths or path.startswith(tables)]
        read += filter(None, (subject.read_whole_s(table) for table in tables))
        age = f", as of {age_text(now_s - min(read))} ago" if read else ""
        return Leave(SkipReason.ALREADY, f"it already reads so{age}")
    return CpePlan(
        tuple(Step(n, subject.target, do) for n, do in enumerate(every, start=1)),
        {"after": _when(subject, now_s), **_proof(every), **_undo(subject, every)},
        management=any(loses_us(t) for do in every for t in do),
        rests_on=_rests_on(profile, wanted.settings, writes),
    )


def _rests_on(profile: CpeProfile, names: Collection[str], writes: Sequence[Transition]) -> tuple[str, ...]:
    """Return the parameters that say where names stand that are written; a path that was given rests on nothing."""
    written = {path_of(write) for write in writes}
    paths = [path for name in names if (path := profile.path(name)) is not None and path in written]
    return tuple(dict.fromkeys(reference for path in paths for reference in profile.rests_on.get(path, ())))


def _locked_out(subject: CpeSubject, writes: Sequence[Transition]) -> Leave | None:
    """Return why a CPE would not be let in any more: a password is found by its user, which must be this CPE's."""
    paths = {f"{subject.cpe.root}{MANAGEMENT}{last}": last for last in ("Username", "Password")}
    found = {paths[p]: w for w in writes if (p := path_of(w)) in paths}
    if not found:
        return None
    has = subject.values.get(f"{subject.cpe.root}{MANAGEMENT}Username")
    user: object = has.value if has is not None else None
    if "Username" in found and found["Username"].after is not ABSENT:
        user = found["Username"].after[addresses.VALUE]
    its_own = isinstance(user, str) and f"{user}.".startswith(f"{subject.cpe.name}.")
    if "Password" in found and its_own:
        return None
    how = f"expected both, and a user that begins with {subject.cpe.name}.: ispagent cpe rotate {subject.cpe.name}"
    return Leave(CpeSkipReason.CREDENTIALS, f"by these the CPE would not be let in any more: {how}", blocked=True)


def _proof(steps: Sequence[Sequence[Transition]]) -> Mapping[str, str]:
    if not any(_sets_secret(t) for s in steps for t in s):
        return {}
    return {"proof": "what is set is read back; a secret cannot be: it is done when the CPE answered that it took it"}


def _undo(subject: CpeSubject, steps: Sequence[Sequence[Transition]]) -> Mapping[str, str]:
    """Return the settings that an undo cannot put back: secrets that are not known, rows that are deleted."""
    lost: list[str] = []
    if unknown := [path_of(t) for s in steps for t in s if _from_unknown_secret(t)]:
        lost.append(f"{NO_UNDO}: what was before is not known of {', '.join(unknown)}")
    for row in (what_of(t.address) for s in steps for t in s if t.after is ABSENT):
        if not isinstance(row, TableRow):
            continue
        inside = f"{row.table}{rows.number_of(row, subject.values)}."
        deeper = sum(path.startswith(inside) and "." in path.removeprefix(inside) for path in subject.values)
        if hidden := rows.secrets(row):
            lost.append(f"{row.table} row cannot be taken back: its {', '.join(hidden)} is not known")
        elif deeper:
            lost.append(f"{row.table} row is made again without the {deeper} parameters below it")
    return {"undo": " · ".join(lost)} if lost else {}


def _from_unknown_secret(write: Transition) -> bool:
    """Tell whether a write puts a secret in the place of one that nobody here knows."""
    if write.before.value is ABSENT or write.after is ABSENT:
        return False
    return isinstance(write.after.get(addresses.VALUE), SecretRef) and write.before.value.get(addresses.VALUE) == ""


def path_of(write: Transition) -> str:
    """Return the full name of the parameter that is written."""
    return write.address.split("/", 2)[2]


def loses_us(write: Transition) -> bool:
    """Return whether a write is to a parameter that a CPE needs to find us, to be let in and to be called; a mistake
    loses it.
    """
    before, _, last = path_of(write).rpartition(".")
    if not f"{before}.".endswith(MANAGEMENT):
        return False
    if last == _INTERVAL:
        text = write.after.get(addresses.VALUE) if isinstance(write.after, Mapping) else None
        return not (isinstance(text, str) and text.isdecimal() and 0 < int(text) <= _SELDOM_S)
    return last in _KEEPS_US


def _parameter(
    subject: CpeSubject, profile: CpeProfile, name: str, text: str, wanted: Wanted
) -> Transition | Leave | None:
    """Return the step that sets one parameter, None where it reads so already."""
    try:
        path = profile.resolve(name)
    except UnplacedNameError as err:
        how = f"ispagent cpe refresh {subject.cpe.name}; else its full path, or a profile of your own"
        return Leave(CpeSkipReason.PLACE_UNKNOWN, f"{err}{_since_reset(subject.cpe)}: {how}", blocked=True)
    except UnknownNameError as err:
        return Leave(CpeSkipReason.UNKNOWN_PARAMETER, str(err), blocked=True)
    if path.endswith("."):
        return Leave(CpeSkipReason.UNKNOWN_PARAMETER, f"{path} is an object, not a parameter", blocked=True)
    if classify(path) is Sensitivity.READ_ONLY:
        return Leave(CpeSkipReason.NOT_WRITABLE, f"{path} cannot be written", blocked=True)
    known = subject.values.get(path)
    if known is None:
        since, how = _since_reset(subject.cpe), f"ispagent cpe refresh {subject.cpe.name} {name}"
        never = f"{path} was never read of this CPE{since}: {how}"
        return Leave(CpeSkipReason.NEVER_READ, never, blocked=True)
    if known.unreadable:
        cannot = f"{path} reads what cannot be decoded, and could not be put back"
        return Leave(CpeSkipReason.UNREADABLE_VALUE, cannot, blocked=True)
    where = address(subject.target, path)
    if known.value is None:
        if (leave := withheld(subject.cpe)) is not None:
            return leave
        commit = wanted.commit(name, path)
        if commit is None:
            return Leave(CpeSkipReason.SECRET, f"{path} is a secret: give it by --secret {name}", blocked=True)
        last = subject.taken.get(path)
        before_ = Seen({addresses.VALUE: SecretRef(last) if last else ""}, known.at_s, live=False)
        return Transition(where, before_, {addresses.VALUE: SecretRef(commit)})
    if name in wanted.secrets:
        return Leave(CpeSkipReason.NO_SECRET, f"{path} is no secret: give it by --value {name}=…", blocked=True)
    if len(text) > limits.VALUE_CHARS or _CLIPPED.fullmatch(known.value):
        return Leave(
            CpeSkipReason.TOO_LONG, f"{path}: longer values than {limits.VALUE_CHARS} are not kept", blocked=True
        )
    check = TYPES.get(known.type)
    value = normalize(known.type, text)
    if check is not None and not check(value):
        return Leave(
            CpeSkipReason.BAD_VALUE, f"{path}: expected a value of type {known.type}, got {text[:60]!r}", blocked=True
        )
    before = normalize(known.type, known.value)
    if before == value:
        return None
    if why := _out_of_bounds(subject, profile, path, value):
        return Leave(CpeSkipReason.BAD_VALUE, f"{name}: {why}", blocked=True)
    return Transition(where, Seen({addresses.VALUE: before}, known.at_s, live=False), {addresses.VALUE: value})


def _out_of_bounds(subject: CpeSubject, profile: CpeProfile, path: str, text: str) -> str:
    """Return the vocabulary's bounds that a value breaks, "" where it fits or has no bounds."""
    name = profile.name_of(path) or ""
    band = subject.values.get(profile.path(f"{name.rpartition('.')[0]}.band") or "")
    return bounds.problem(name, text, (band.value or "") if band is not None else "")


def bad_secret(subject: CpeSubject, given: Mapping[str, str]) -> Leave | None:
    """Return why one of the secrets, by its name or path, is not to be set; its text is not repeated."""
    profile = subject.profile
    for name, text in given.items() if profile is not None else ():
        path = profile.path(name) if profile is not None else None
        if profile is not None and (why := _out_of_bounds(subject, profile, path or name, text)):
            return Leave(CpeSkipReason.BAD_VALUE, f"{name}: {why}", blocked=True)
    return None


def _since_reset(cpe: Cpe) -> str:
    return " since it was reset" if cpe.resets > 1 else ""


def _row(subject: CpeSubject, name: str, text: str, now_s: int) -> Transition | Leave | None:
    """Return the step that makes, changes or deletes a row."""
    found = _ROW.fullmatch(name[1:])
    if found is None:
        wanted = "expected +TABLE.[field=value,…] or -TABLE.[field=value,…]"
        return Leave(CpeSkipReason.BAD_ROW, f"{wanted}, got {name[:80]!r}", blocked=True)
    table = found["table"] if subject.profile is None else _table(subject.profile, found["table"])
    key, fields = _pairs(found["key"]), _pairs(text)
    if isinstance(key, Leave):
        return key
    if isinstance(fields, Leave):
        return fields
    if not key or (name[0] == "+" and text and not fields):
        return Leave(CpeSkipReason.BAD_ROW, f"{name[:80]!r}: expected field=value,…", blocked=True)
    if secret := [f for f in (*key, *fields) if classify(f"{table}1.{f}") is Sensitivity.SECRET]:
        return Leave(
            CpeSkipReason.SECRET,
            f"{', '.join(secret)} of {table} is a secret, which a row cannot take yet",
            blocked=True,
        )
    known = {path: k for path, k in subject.values.items() if path.startswith(table)}
    if not known and not _counted(subject, table) and not subject.read_whole_s(table):
        never = f"{table} was never read of this CPE: ispagent cpe refresh {subject.cpe.name} {table}"
        return Leave(CpeSkipReason.NEVER_READ, never, blocked=True)
    number = rows.number_of(TableRow(table, key, ()), known)
    if unreadable := rows.unreadable(TableRow(table, key, tuple(fields)), known, whole=name[0] == "-"):
        cannot = f"{', '.join(unreadable)}: reads what cannot be decoded, and could not be told apart or put back"
        return Leave(CpeSkipReason.UNREADABLE_VALUE, cannot, blocked=True)
    if name[0] == "-":
        return _delete(subject, table, key, number, known)
    row = TableRow(table, key, tuple(f for f in fields if f not in key))
    try:
        where = row_address(subject.target, row)
    except BadAddressError as err:
        return Leave(CpeSkipReason.BAD_ROW, str(err), blocked=True)
    before = rows.value(row, known)
    at_s = max((k.at_s for k in known.values()), default=subject.read_whole_s(table) or now_s)
    after: Value = {**key, **{f: _typed(table, number, f, t, known) for f, t in fields.items()}}
    return None if before == after else Transition(where, Seen(before, at_s, live=False), after)


def _table(profile: CpeProfile, path: str) -> str:
    """Return the full path of a table, which may be given without the root."""
    return path if path.startswith(profile.root) else profile.root + path


def _counted(subject: CpeSubject, table: str) -> bool:
    """Return whether an empty table is known to be one: by the count of its rows (TR-106 section 3.7.1)."""
    parent, _, last = table.rstrip(".").rpartition(".")
    return f"{parent}.{last}NumberOfEntries" in subject.values


def _typed(table: str, number: int | None, name: str, text: str, known: Mapping[str, CachedParameter]) -> str:
    found = known.get(f"{table}{number}.{name}") if number is not None else None
    sibling = next((k for p, k in known.items() if p.endswith(f".{name}")), None)
    kind = (found or sibling or CachedParameter("", "string", 0)).type
    return normalize(kind, text)


def _delete(
    subject: CpeSubject, table: str, key: Mapping[str, str], number: int | None, known: Mapping[str, CachedParameter]
) -> Transition | Leave | None:
    if number is None:
        return None
    fields = rows.instances(table, known)[number]
    # What makes the row again if the change is taken back: the CPE itself sets the others, and refuses to have them set
    kept = tuple(f for f in fields if f not in key and not _read_only(table, f))
    row = TableRow(table, key, kept)
    return Transition(
        row_address(subject.target, row),
        Seen(rows.value(row, known), max(k.at_s for k in fields.values()), live=False),
        ABSENT,
    )


def _read_only(table: str, name: str) -> bool:
    return name == "Status" or classify(f"{table}1.{name}") in (Sensitivity.READ_ONLY, Sensitivity.VOLATILE)


def _pairs(text: str) -> dict[str, str] | Leave:
    found: dict[str, str] = {}
    for part in text.split(","):
        name, sign, value = (each.strip() for each in part.partition("="))
        if not part.strip():
            continue
        if not sign or not name or name in found:
            wanted = "expected field=value,…, each once and no comma in a value"
            return Leave(CpeSkipReason.BAD_ROW, f"{wanted}, got {text[:80]!r}", blocked=True)
        found[name] = value
    return found


# --- effects ----------------------------------------------------------------------------------------------------------


def reboot(subject: CpeSubject, now_s: int) -> CpePlan | Leave:
    """Return the step that reboots a CPE."""
    return _effect(subject, REBOOT, {}, Replay.IF_UNPROVEN, ProofKind.CHANGED, addresses.BOOTS, now_s)


def factory_reset(subject: CpeSubject, now_s: int) -> CpePlan | Leave:
    """Return the step that resets a CPE to its factory's settings."""
    return _effect(subject, FACTORY_RESET, {}, Replay.NEVER, ProofKind.CHANGED, addresses.RESETS, now_s)


def firmware(subject: CpeSubject, wanted: Wanted, now_s: int) -> CpePlan | Leave:
    """Return the step that has a CPE fetch a firmware image; done when its SoftwareVersion is the wanted one."""
    image, profile = wanted.image, subject.profile
    if image is None or profile is None:
        raise ValueError("a firmware change needs an image, and a profile")
    if subject.cpe.software == wanted.version:
        age = age_text(now_s - subject.cpe.last_s)
        return Leave(SkipReason.ALREADY, f"it already runs {wanted.version}, as of its call {age} ago")
    args = {
        "file": image.name,
        "sha256": image.sha256,
        "bytes": str(image.size_bytes),
        "type": profile.firmware_types[0],
        "version": wanted.version,
        "from": subject.cpe.software or UNKNOWN_VERSION,
    }
    planned = _effect(subject, FIRMWARE, args, Replay.NEVER, ProofKind.EQUAL, addresses.FIRMWARE, now_s)
    if isinstance(planned, Leave):
        return planned
    return replace(planned, display={**planned.display, "model": model_name(subject.cpe)})


def diagnose(subject: CpeSubject, wanted: Wanted, now_s: int) -> CpePlan | Leave:
    """Return the step that has a CPE run a test."""
    profile = subject.profile
    test = None if profile is None else profile.diagnostic(wanted.diagnostic)
    if profile is None or test is None:
        known = "" if profile is None else ", ".join(each.name for each in profile.diagnostics)
        takes = f"expected {known}" if known else "none is known of this model"
        asked = presentable(wanted.diagnostic)
        return Leave(CpeSkipReason.NO_SUCH_TEST, f"there is no test {asked}: {takes}", blocked=True)
    args = {"object": test.path, "workflow": wanted.diagnostic}
    for word, text in wanted.arguments.items():
        argument = test.argument(word)
        if argument is None:
            known = ", ".join(a.name.partition(".")[2] for a in test.arguments)
            takes = f"it takes {known}" if known else "it takes no values"
            told = f"{wanted.diagnostic}: there is no value {presentable(word)}; {takes}"
            return Leave(CpeSkipReason.BAD_VALUE, told, blocked=True)
        if why := bounds.problem(argument.name, text) or _of_kind(argument, text):
            return Leave(CpeSkipReason.BAD_VALUE, f"{wanted.diagnostic} {word}: {why}", blocked=True)
        args[argument.path.removeprefix(test.path)] = text
    if (needed := bounds.REQUIRED.get(test.name)) is not None and needed not in wanted.arguments:
        needs = test.argument(needed)
        has = subject.values.get(needs.path) if needs is not None else None
        if needs is not None and (has is None or not has.value):
            return Leave(CpeSkipReason.BAD_VALUE, f"{test.name}: expected --value {needed}=…", blocked=True)
    what = addresses.RUN + test.path
    return _effect(subject, DIAGNOSE, args, Replay.SAFE, ProofKind.EQUAL, what, now_s)


def _of_kind(argument: Mapped, text: str) -> str:
    fits = TYPES[argument.kind](normalize(argument.kind, text))
    return "" if fits else f"expected a value of type {argument.kind}, got {presentable(text)}"


def _effect(
    subject: CpeSubject,
    verb: str,
    args: Mapping[str, str],
    replay: Replay,
    proof: ProofKind,
    what: str,
    now_s: int,
) -> CpePlan | Leave:
    method = METHODS[verb]
    if subject.profile is not None and (why := subject.profile.unsafe_call(method)) is not None:
        return Leave(CpeSkipReason.UNSAFE, f"{method} is not asked of this model: {why}", blocked=True)
    key = chance.token_hex(12)
    effect = Effect(address(subject.target, what), verb, args, key, replay, proof, WITHIN_S[verb])
    return CpePlan((Step(1, subject.target, effect),), {"after": _when(subject, now_s)})


# --- texts ------------------------------------------------------------------------------------------------------------


def title(cpe: Cpe) -> str:
    """Return how a CPE is named to people."""
    model = " ".join(filter(None, (cpe.manufacturer, cpe.product_class)))
    whose = f"serves {cpe.service}" if cpe.service else "serves nobody"
    return " · ".join(filter(None, (cpe.name, model, whose)))


def now_text(cpe: Cpe, now_s: int) -> str:
    """Return the state of a CPE: its firmware, its last call, the proof of its name."""
    seen = f"called in {age_text(now_s - cpe.last_s)} ago" if cpe.last_s else "never called in"
    return " · ".join(
        filter(None, (cpe.software and f"firmware {cpe.software}", seen, f"proven by {proven_text(cpe)}"))
    )


def proven_text(cpe: Cpe) -> str:
    """Return the proof of a CPE's name."""
    if not cpe.own:
        return "credentials that many share"
    return "a password of its own" if cpe.own_password else "a certificate with its name"


def _when(subject: CpeSubject, now_s: int) -> str:
    known = None if subject.profile is None else subject.profile.path("inform.interval")
    interval = subject.values.get(known) if known else None
    often = f", every {interval.value} s by itself" if interval is not None and interval.value else ""
    last = f"it last did {age_text(now_s - subject.cpe.last_s)} ago" if subject.cpe.last_s else "it never did"
    asked = "it is asked to now" if subject.callable else "it cannot be asked to (ispagent cpe rotate)"
    return f"sent when it calls in: {last}{often}; {asked}"
