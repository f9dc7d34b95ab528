"""One campaign for many models: each CPE gets the image of its own model and hardware, or none."""

from __future__ import annotations

import pytest

from agent.cpe.images import ModelImage, ModelImages, model_name
from agent.cpe.reasons import CpeSkipReason
from agent.cpe_model.known import Cpe
from agent.cpe_model.manager import ImageFile
from agent.services.verbs import Leave
from trust.cpe_settings import IMAGE, read_image_untrusted, read_images
from trust.errors import MalformedError


def image(name: str) -> ModelImage:
    return ModelImage(ImageFile(f"{name}.bin", 9, "0" * 64), "2.0")


def cpe(product_class: str, hardware: str = "", oui: str = "02AC5F", serial: str = "1") -> Cpe:
    return Cpe(f"{oui}-{product_class}-{serial}", oui, product_class, serial, hardware=hardware)


IMAGES = ModelImages(None, {"Gate": image("gate"), "Gate/B2": image("gate-b2"), "00259E-IGD": image("igd")})


@pytest.mark.parametrize(
    ("of", "file"),
    [
        (cpe("Gate"), "gate.bin"),
        (cpe("Gate", "A1"), "gate.bin"),
        (cpe("Gate", "B2"), "gate-b2.bin"),
        (cpe("IGD", oui="00259E"), "igd.bin"),
        (cpe("IGD", oui="F81A67"), None),
        (cpe("Gate2"), None),
        (cpe("gate"), None),
        (cpe(""), None),
    ],
)
def test_a_cpe_gets_the_image_of_its_model_or_none(of: Cpe, file: str | None) -> None:
    found = IMAGES.of(of)
    if file is None:
        assert isinstance(found, Leave)
        assert (found.code, found.blocked) == (CpeSkipReason.NO_IMAGE, False)
        assert model_name(of) in found.why
    else:
        assert isinstance(found, ModelImage)
        assert found.file.name == file


def test_one_image_for_all_is_for_all() -> None:
    assert ModelImages(image("x"), {}).of(cpe("Anything")) == image("x")


def test_one_name_of_two_makers_is_refused() -> None:
    images = ModelImages(None, {"IGD": image("a"), "00259E-Gate": image("b")})
    (problem,) = images.problems([cpe("IGD", oui="00259E"), cpe("IGD", oui="F81A67"), cpe("Gate", oui="00259E")])
    assert problem == "IGD is a model of several makers (00259E, F81A67): name each as OUI-IGD"
    assert images.problems([cpe("IGD", oui="00259E")]) == []


def test_models_without_a_cpe_are_named() -> None:
    assert IMAGES.unused([cpe("Gate", "A1")]) == ["Gate/B2", "00259E-IGD"]


def test_one_of_each_model_goes_first() -> None:
    many = [cpe("Gate", serial=str(n)) for n in range(6)]
    few = [cpe("IGD", oui="00259E", serial=str(n)) for n in range(2)]
    order = IMAGES.in_turn([*many, *few])
    assert {c.product_class for c in order[:2]} == {"Gate", "IGD"}
    assert len(order) == len(set(order)) == 8
    assert [c.serial for c in order if c.product_class == "Gate"] == list("012345")


def test_what_people_type() -> None:
    assert read_images(["Gate/B2=gate b2.bin:2.0:r1", " IGD =igd.bin:V3"]) == {
        f"{IMAGE}Gate/B2": "gate b2.bin:2.0:r1",
        f"{IMAGE}IGD": "igd.bin:V3",
    }
    assert read_image_untrusted("gate b2.bin:2.0:r1") == ("gate b2.bin", "2.0:r1")
    for text in ("Gate", "=x.bin:1", "Gate=x.bin", "Gate=:1", "Gate=x.bin:"):
        with pytest.raises(MalformedError, match="MODEL"):
            read_images([text])
    with pytest.raises(MalformedError, match="Gate once"):
        read_images(["Gate=a.bin:1", "Gate=b.bin:1"])


def test_a_model_without_a_product_class_goes_by_its_oui() -> None:
    """TR-069 lets ProductClass be empty; such a model is shown as its OUI, and can be named so."""
    images = ModelImages(None, {"00259E": image("all"), "00259E/B2": image("b2")})
    for of, file in ((cpe("", oui="00259E"), "all.bin"), (cpe("", "B2", oui="00259E"), "b2.bin")):
        found = images.of(of)
        assert isinstance(found, ModelImage)
        assert (found.file.name, model_name(of)) == (file, "00259E")
    assert isinstance(images.of(cpe("IGD", oui="00259E")), Leave), "an OUI names no model that has a product class"
