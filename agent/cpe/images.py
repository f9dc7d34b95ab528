"""Which firmware image of a campaign is for which CPE: by its model and hardware version, and no other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.cpe.reasons import CpeSkipReason
from agent.cpe_model.known import Cpe
from agent.cpe_model.manager import ImageFile
from agent.cpe_model.presentable import presentable
from agent.services.verbs import Leave


@dataclass(frozen=True, slots=True)
class ModelImage:
    """An image, and the version that it makes SoftwareVersion read."""

    file: ImageFile
    version: str


@dataclass(frozen=True, slots=True)
class ModelImages:
    """The images of a campaign. `every`: for all CPE, whatever their model; None: each model has its own.

    `by_model`: `MODEL` or `MODEL/HARDWARE` -> image. A model is a product class, with or without its OUI before it:
    `LabGate`, `02AC5F-LabGate`; of CPE that have no product class, their OUI: `02AC5F`. The image for a hardware
    version goes before that for all of the model.
    """

    every: ModelImage | None
    by_model: Mapping[str, ModelImage]

    def of(self, cpe: Cpe) -> ModelImage | Leave:
        """Return the image for a CPE, or why it gets none."""
        if self.every is not None:
            return self.every
        found = next((self.by_model[name] for name in _names(cpe) if name in self.by_model), None)
        if found is not None:
            return found
        hardware = f", hardware {presentable(cpe.hardware)}" if cpe.hardware else ""
        return Leave(CpeSkipReason.NO_IMAGE, f"no image is named for {model_name(cpe)}{hardware}")

    def problems(self, cpes: Iterable[Cpe]) -> list[str]:
        """Return which models are not told apart: the same product class of two makers may take no image in common."""
        makers: dict[str, set[str]] = {}
        for cpe in cpes:
            for name in _names(cpe):
                if name in self.by_model:
                    makers.setdefault(name, set()).add(cpe.oui)
                    break
        several = {name: ", ".join(sorted(ouis)) for name, ouis in makers.items() if len(ouis) > 1}
        return [
            f"{presentable(name)} is a model of several makers ({ouis}): name each as OUI-{presentable(name)}"
            for name, ouis in several.items()
        ]

    def in_turn(self, cpes: Sequence[Cpe]) -> list[Cpe]:
        """Return CPE in the order in which they get their images: one of each model first, then all models evenly.

        So the first ring shows the result of each image, and no later ring is the first of a model.
        """
        groups: dict[str, list[Cpe]] = {}
        for cpe in cpes:
            name = next((n for n in _names(cpe) if n in self.by_model), "")
            groups.setdefault(name, []).append(cpe)
        turns = [
            (0.0 if at == 0 else 1 + at / len(group), cpe) for group in groups.values() for at, cpe in enumerate(group)
        ]
        return [cpe for _, cpe in sorted(turns, key=lambda turn: turn[0])]

    def unused(self, cpes: Iterable[Cpe]) -> list[str]:
        """Return the models of which there is no CPE."""
        every = {name for cpe in cpes for name in _names(cpe)}
        return [name for name in self.by_model if name not in every]


def _names(cpe: Cpe) -> tuple[str, ...]:
    """Return the names of a CPE's model, those of its hardware version first."""
    models = (f"{cpe.oui}-{cpe.product_class}", cpe.product_class) if cpe.product_class else (cpe.oui,)
    of_hardware = tuple(f"{model}/{cpe.hardware}" for model in models) if cpe.hardware else ()
    return (*of_hardware, *models)


def model_name(cpe: Cpe) -> str:
    """Return how a CPE's model is named to people: `02AC5F-LabGate`."""
    return presentable(f"{cpe.oui}-{cpe.product_class}" if cpe.product_class else cpe.oui)
