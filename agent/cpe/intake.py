"""Intake of changes on CPE: which CPE, and the wanted settings of each, from their last known values.

Nothing is asked of a CPE for a preview: it calls in when it likes. The plan says the age of the values that it rests
on, waits for the CPE, and is checked against it then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.changes.authority import standings
from agent.changes.authority.standings import Standings
from agent.changes.journal.request import CPE, SETTINGS_MAX, Ask, Request, RequestError, refusal
from agent.changes.journal.trust_state import Pinned
from agent.changes.planning.preview import Previewer, Scope
from agent.connectors.base import NotSentError
from agent.cpe import requirements
from agent.cpe import verbs as cpe_verbs
from agent.cpe.baseline import Declared, SecretSources, declared
from agent.cpe.images import ModelImage, ModelImages, model_name
from agent.cpe.reasons import CpeSkipReason
from agent.cpe.store import CpeStore
from agent.cpe.verbs import CpePlan, CpeSubject, Wanted, path_of
from agent.cpe_model.addresses import VALUE, address
from agent.cpe_model.baseline import Baseline
from agent.cpe_model.known import Acceptance, CachedParameter, Cpe
from agent.cpe_model.manager import CpeManager, CpeTerms
from agent.cpe_model.presentable import presentable
from agent.cpe_model.profiles import CpeProfile, ProfileError, bound, normalize
from agent.cpe_model.sensitivity import Sensitivity, classify
from agent.inventory import book
from agent.model import ABSENT, Effect, Item, Listed, Requirement, Value
from agent.runtime.clock import Clock
from agent.runtime.slices import InSlices
from agent.services.network import as_read
from agent.services.verbs import Leave
from agent.store.vault import Vault
from trust import chance
from trust.cpe_settings import BASELINE, IMAGE, RINGS, ROTATE, read_image_untrusted, read_rings_untrusted
from trust.errors import MalformedError
from trust.policy import SUPPORT_ACTIONS, Action, RiskClass
from trust.statements import OnFailure

_NO_UNDO: Mapping[Action, str] = {
    Action.CPE_REBOOT: "cannot be undone: the CPE comes back by itself",
    Action.CPE_RESET: "cannot be undone: what was set on the CPE is lost, and is provisioned anew",
    Action.CPE_FIRMWARE: "cannot be undone by itself: a change to the image from before, if the CPE takes it",
    Action.CPE_DIAGNOSE: "nothing to undo: a test changes nothing that lasts",
}
MODELS_NAMED = 8
"""Models that a note names; the others are counted."""
_Given = ModelImages | Declared | Leave | None
"""The needs of an item besides the ask: the images of a campaign, or the baseline's settings for the CPE."""


@dataclass(frozen=True, slots=True)
class CpeIntake:
    """Answers requests for changes on CPE with plans."""

    cpes: CpeStore
    vault: Vault
    previewer: Previewer
    clock: Clock
    manager: CpeManager
    terms: CpeTerms
    standings: Standings | None = None
    """Approves plans that a standing authority covers; None: everything waits for people."""
    sources: SecretSources | None = None
    """Where the secrets of baselines are kept; None: nowhere."""

    async def plan(self, request: Request, pinned: Pinned) -> bytes:
        """Return the id of the plan that answers the request.

        Raises:
            RequestError: a reference is unknown or ambiguous, nothing would change, or policy refuses.
        """
        ask, rings = _without_rings(request.ask)
        if len(ask.settings) + len(ask.secrets) > SETTINGS_MAX:
            raise RequestError(f"expected at most {SETTINGS_MAX} settings in one change")
        if ask.settings.keys() & {ROTATE, BASELINE} and len(ask.settings) + len(ask.secrets) > 1:
            raise RequestError("a baseline, or new credentials, are a change of their own: nothing else goes with it")
        if ask.on_failure is OnFailure.REVERT and ask.action is not Action.CPE_SET:
            raise RequestError(f"{ask.action.value} cannot be taken back: expected another --on-failure than revert")
        chosen = sorted(await self.select(ask), key=lambda cpe: -cpe.last_s)  # whoever called in last is the canary
        self._refuse_secrets(ask, chosen)
        images = await self._images(ask) if ask.action is Action.CPE_FIRMWARE else None
        if images is not None and (problems := images.problems(chosen)):
            raise refusal(problems)
        chosen = chosen if images is None else images.in_turn(chosen)
        keep: dict[str, str] = {}
        wanted: dict[str, Declared | Leave] = {}
        for cpe in chosen if BASELINE in ask.settings else ():
            if cpe.trust is Acceptance.ACCEPTED:
                wanted[cpe.name] = await self._declared(cpe)
        made = [self._item(ask, cpe, images or wanted.get(cpe.name), keep) for cpe in chosen]
        management = any(m for _, m in made)
        if keep:
            await self.cpes.keep_secrets(keep)
        heavy = ask.action in (Action.CPE_FIRMWARE, Action.CPE_RESET)
        alone = chosen[0] if BASELINE in ask.settings and len(chosen) == 1 else None
        reason = requirements.baseline_reason(alone) if alone is not None else ""
        due = alone is not None and requirements.baseline_due(self.previewer.store.query, reason)
        covered = (due and self._standing(pinned, Action.CPE_SET, RiskClass.PROVISION)) or (
            ask.action in SUPPORT_ACTIONS and len(chosen) == 1 and self._standing(pinned, ask.action, RiskClass.SUPPORT)
        )
        scope = Scope(
            active_services=self.accepted(),
            facts_age_s=None,
            facts_empty=False,
            source="from last known values",
            device_config=heavy or management,
            guarded=not management,
            look="it changes how the CPE finds us: a mistake loses it" if management else "",
            run_for_s=self.terms.wait_s,
            baseline_due=due,
            standing=covered,
            reason=reason,
            undo=_NO_UNDO.get(ask.action, "") or _no_undo([item for item, _ in made]),
            staged=ask.action is Action.CPE_FIRMWARE,
            rings=rings,
            notes=_image_notes(images, chosen) if images is not None else "",
        )
        return await self.previewer.propose(request, [item for item, _ in made], scope, pinned)

    def _standing(self, pinned: Pinned, action: Action, risk: RiskClass) -> bool:
        if self.standings is None:
            return False
        found = self.standings.in_force(self.clock.wall_s())
        return standings.may_cover(found, pinned.trust, action, risk)

    def accepted(self) -> int:
        return self.cpes.counts().get(Acceptance.ACCEPTED, 0)

    async def select(self, ask: Ask) -> list[Cpe]:
        """Return the CPE that an ask names: by name, service, login or serial number."""
        found: dict[str, Cpe] = {}
        problems: list[str] = []
        async for ref in InSlices(ask.refs):
            matching = self.cpes.named(ref)
            if not matching:
                problems.append(f"there is no CPE {ref}: ispagent cpe list")
            elif len(matching) > 1:
                problems.append(f"{ref} has several CPE: {', '.join(c.name for c in matching[:10])}")
            else:
                found[matching[0].name] = matching[0]
        out: set[str] = set()
        for ref in ask.exclude:
            matching = self.cpes.named(ref)
            out.update(cpe.name for cpe in matching)
            if not matching:
                problems.append(f"exclude {ref}: there is no such CPE: ispagent cpe list")
        if problems:
            raise refusal(problems)
        left = [cpe for name, cpe in found.items() if name not in out]
        if not left:
            raise RequestError("no CPE is left to change")
        return left

    def _refuse_secrets(self, ask: Ask, chosen: Sequence[Cpe]) -> None:
        """Refuse a secret that is given in clear, as any value: it would stand in the intent, which is kept."""
        for cpe in chosen:
            profile = self.subject(cpe).profile
            for name in ask.settings if profile is not None and ask.action is Action.CPE_SET else ():
                path = profile.path(name) if profile is not None else None
                if classify(path or name) is Sensitivity.SECRET:
                    raise RequestError(f"{name} is a secret: give it by --secret {name}")

    async def _images(self, ask: Ask) -> ModelImages:
        """Return the images that an ask names: one for all, or one for each model."""
        named = {name.removeprefix(IMAGE): text for name, text in ask.settings.items() if name.startswith(IMAGE)}
        others = set(ask.settings) - {f"{IMAGE}{model}" for model in named}
        if others != (set() if named else {"file", "version"}):
            raise RequestError(
                "cpe-firmware: expected a file and the version that it makes the CPE say, or both for each model"
            )
        if not named:
            return ModelImages(await self._image(ask.settings["file"], ask.settings["version"]), {})
        try:
            by_model = {model: read_image_untrusted(text) for model, text in named.items()}
        except MalformedError as err:
            raise RequestError(f"firmware: {err}") from err
        return ModelImages(None, {model: await self._image(*image) for model, image in by_model.items()})

    async def _image(self, file: str, version: str) -> ModelImage:
        try:
            return ModelImage(await self.manager.image(file), version)
        except NotSentError as err:
            raise RequestError(f"firmware: {err}") from err

    def subject(self, cpe: Cpe) -> CpeSubject:
        """Return a CPE with its known values: those from before its reset no longer hold."""
        values = {path: known for path, known in self.cpes.values(cpe.name).items() if not known.before_reset}
        taken = self.cpes.secrets_set(cpe.name)
        target, can_be_called = self.manager.target_id(cpe.name), self.manager.can_be_called(cpe.name)
        return CpeSubject(
            cpe,
            target,
            values,
            self.profile(cpe, values),
            taken,
            can_be_called,
            lambda path: self.cpes.read_whole_s(cpe.name, path),
        )

    def profile(self, cpe: Cpe, values: Mapping[str, CachedParameter]) -> CpeProfile | None:
        """Return the profile of a CPE, by its model and known values; None: its data model is not known."""
        try:
            of_model = self.terms.profiles.of(cpe.oui, cpe.product_class, cpe.software, cpe.root) if cpe.root else None
        except ProfileError:
            return None
        return None if of_model is None else bound(of_model, values)

    def _item(self, ask: Ask, cpe: Cpe, given: _Given, keep: dict[str, str]) -> tuple[Item, bool]:
        subject, now_s = self.subject(cpe), int(self.clock.wall_s())
        planned: CpePlan | Leave
        if (leave := cpe_verbs.usable(subject)) is not None:
            planned = leave
        elif isinstance(given, Leave):
            planned = given
        elif isinstance(given, Declared):
            planned = self._baseline(subject, given, keep, now_s)
        else:
            planned = self._planned(ask, subject, given, keep, now_s)
        return self.made(subject, planned, now_s), isinstance(planned, CpePlan) and planned.management

    def _planned(
        self, ask: Ask, subject: CpeSubject, images: ModelImages | None, keep: dict[str, str], now_s: int
    ) -> CpePlan | Leave:
        match ask.action:
            case Action.CPE_REBOOT:
                return cpe_verbs.reboot(subject, now_s)
            case Action.CPE_RESET:
                return cpe_verbs.factory_reset(subject, now_s)
            case Action.CPE_FIRMWARE:
                image = None if images is None else images.of(subject.cpe)
                if isinstance(image, Leave):
                    return image
                wanted = Wanted() if image is None else Wanted(image=image.file, version=image.version)
                return cpe_verbs.firmware(subject, wanted, now_s)
            case Action.CPE_DIAGNOSE:
                arguments = {k: v for k, v in ask.settings.items() if k != "test"}
                test = ask.settings.get("test", "")
                return cpe_verbs.diagnose(subject, Wanted(diagnostic=test, arguments=arguments), now_s)
            case _ if ROTATE in ask.settings:
                return self._rotate(subject, Declared({}, {}), keep, now_s)
            case _:
                if (leave := cpe_verbs.bad_secret(subject, ask.secrets)) is not None:
                    return leave
                settings = {**ask.settings, **dict.fromkeys(ask.secrets, "")}
                commit = self._committing(subject.cpe, ask.secrets, keep)
                return cpe_verbs.set_values(subject, Wanted(settings, commit, secrets=ask.secrets), now_s)

    def _committing(self, cpe: Cpe, given: Mapping[str, str], keep: dict[str, str]) -> Callable[[str, str], str | None]:
        def commit(name: str, path: str) -> str | None:
            text = given.get(name)
            if text is None:
                return None
            # As set now: what reads as an earlier one, with the same text, was not set by this change
            made = self.vault.commit(f"{self.manager.target_id(cpe.name)}/{path}/{chance.token_hex(8)}", text)
            keep[made] = text
            return made

        return commit

    def baseline(self, cpe: Cpe) -> Baseline | None:
        """Return the baseline that the configuration declares for such a CPE, None: none."""
        return next((b for b in self.terms.baselines if b.is_for(cpe.oui, cpe.product_class)), None)

    async def _declared(self, cpe: Cpe) -> Declared | Leave:
        """Return the settings that a CPE's declared baseline wants of it."""
        found = self.baseline(cpe)
        if found is None or self.sources is None:
            return Leave(
                CpeSkipReason.NO_BASELINE,
                "the configuration declares no baseline for it ([baseline.NAME])",
                blocked=True,
            )
        if found.has_secrets and (leave := cpe_verbs.withheld(cpe)) is not None:
            return leave  # before any secret is fetched for it
        service = book.services(self.previewer.store.reader).get(cpe.service)
        return await declared(found, cpe, service, self.sources)

    def _baseline(self, subject: CpeSubject, wanted: Declared, keep: dict[str, str], now_s: int) -> CpePlan | Leave:
        """Return the step that gives a CPE its declared baseline."""
        found = self.baseline(subject.cpe)
        if found is not None and found.rotate and not subject.cpe.own_password:
            return self._rotate(subject, wanted, keep, now_s)
        if (leave := cpe_verbs.bad_secret(subject, wanted.secrets)) is not None:
            return leave
        every = {**wanted.settings, **dict.fromkeys(wanted.secrets, "")}
        commit = self._committing(subject.cpe, wanted.secrets, keep)
        return cpe_verbs.set_values(subject, Wanted(every, commit, secrets=wanted.secrets), now_s)

    def _rotate(self, subject: CpeSubject, more: Declared, keep: dict[str, str], now_s: int) -> CpePlan | Leave:
        """Return the step that gives a CPE new credentials, both ways. Those before are taken until it used these.

        `more`: other wanted settings.
        """
        cpe = subject.cpe
        if (leave := cpe_verbs.withheld(cpe)) is not None:
            return leave
        settings = {"acs.username": f"{cpe.name}.{chance.token_hex(2)}", "request.username": cpe.name}
        given = {"acs.password": chance.token_urlsafe(18), "request.password": chance.token_urlsafe(18)}
        if self.terms.stun is not None:  # its binding is known by the name that we call it by
            host, port = self.terms.stun
            stun = {"stun.username": cpe.name, "stun.server": host, "stun.port": str(port), "stun.enabled": "true"}
            settings |= {name: text for name, text in stun.items() if self._has(subject, name)}
            given |= {"stun.password": given["request.password"]} if self._has(subject, "stun.password") else {}
        profile = subject.profile
        ours = {profile.path(name) or name for name in (*settings, *given)} if profile is not None else set()
        if profile is not None and (
            twice := [name for name in (*more.settings, *more.secrets) if (profile.path(name) or name) in ours]
        ):
            return Leave(
                CpeSkipReason.BAD_BASELINE,
                f"{', '.join(twice)}: new credentials are made for it (rotate)",
                blocked=True,
            )
        given = {**more.secrets, **given}
        every = {**more.settings, **settings, **dict.fromkeys(given, "")}
        planned = cpe_verbs.set_values(subject, Wanted(every, self._committing(cpe, given, keep), secrets=given), now_s)
        if isinstance(planned, Leave):
            return planned
        writes = [t for s in planned.steps if not isinstance(s.do, Effect) for t in s.do]
        return replace(planned, management=any(cpe_verbs.loses_us(t) for t in writes if path_of(t) not in ours))

    @staticmethod
    def _has(subject: CpeSubject, name: str) -> bool:
        path = None if subject.profile is None else subject.profile.path(name)
        return path is not None and path in subject.values

    def made(self, subject: CpeSubject, planned: CpePlan | Leave, now_s: int) -> Item:
        cpe = subject.cpe
        display = {"title": cpe_verbs.title(cpe), CPE: cpe.name, "now": cpe_verbs.now_text(cpe, now_s)}
        salt, whose = chance.token_hex(16), cpe.service or None
        if isinstance(planned, CpePlan) and cpe_verbs.hands_out(planned.steps):  # also of a revert
            planned = cpe_verbs.withheld(cpe) or planned
        if isinstance(planned, Leave):
            listed = Listed.BLOCKED if planned.blocked else Listed.EXCLUDED
            return Item(1, salt, whose, listed, planned.code, {**display, "why_not": planned.why})
        return Item(
            n=1,
            salt=salt,
            subject=whose,
            listed=Listed.CHANGE,
            reason="",
            display={**display, **planned.display},
            requires=(requirements.same_cpe(cpe), *_as_read(subject, planned.rests_on)),
            steps=planned.steps,
        )


def _image_notes(images: ModelImages, chosen: Sequence[Cpe]) -> str:
    """Return the facts worth a second look: one image for several models, models without a CPE."""
    models = sorted({model_name(cpe) for cpe in chosen})
    notes = [f"no CPE here is of the model {presentable(name)}" for name in images.unused(chosen)]
    if images.every is not None and len(models) > 1:
        told = ", ".join(models[:MODELS_NAMED]) + (" …" if models[MODELS_NAMED:] else "")
        notes.append(f"ONE IMAGE FOR {len(models)} MODELS: {told}; --for names one for each")
    return " · ".join(notes)


def _no_undo(items: Sequence[Item]) -> str:
    """Return that nothing of a change can be undone, where that holds of each of its items; else ""."""
    told = [item.display.get("undo", "") for item in items if item.listed is Listed.CHANGE]
    alike = bool(told) and all(text.startswith(cpe_verbs.NO_UNDO) for text in told)
    return f"{cpe_verbs.NO_UNDO}: the secrets from before are not known" if alike else ""


def _without_rings(ask: Ask) -> tuple[Ask, tuple[int, ...]]:
    """Return an ask without the setting of rings, and its percents.

    Raises:
        RequestError: they are not written as percents that rise.
    """
    if RINGS not in ask.settings:
        return ask, ()
    try:
        percents = read_rings_untrusted(ask.settings[RINGS])
    except MalformedError as err:
        raise RequestError(str(err)) from err
    return replace(ask, settings={name: text for name, text in ask.settings.items() if name != RINGS}), percents


def _as_read(subject: CpeSubject, paths: Sequence[str]) -> list[Requirement]:
    """Return the requirement that parameters read as they last did; each is read again before the first write."""
    found = []
    for path in paths:
        known = subject.values.get(path)
        value: Value = ABSENT if known is None else {VALUE: normalize(known.type, known.value or "")}
        found.append(as_read(address(subject.target, path), value))
    return found
