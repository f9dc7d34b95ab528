"""The history of a few parameters of a CPE: what joins it, how long it is (B13)."""

from __future__ import annotations

import pytest

from agent.cpe import history
from agent.cpe_model.known import CachedParameter
from tests.builders.acs import Book, called
from tests.builders.cpe import NAME

RX = "Device.Optical.Interface.1.OpticalSignalLevel"
UP = "Device.DeviceInfo.UpTime"


def at(at_s: int, text: str | None = "-19250") -> CachedParameter:
    return CachedParameter(text, "int", at_s)


def test_only_numbers_of_tracked_parameters_join() -> None:
    values = {
        RX: at(1),
        UP: at(1, "77"),
        "Device.WiFi.SSID.1.SSID": at(1, "5"),
        "Device.X.TXPower": at(1, "weak"),
        "Device.X.RXPower": at(1, None),
        "Device.Y.RXPower": at(1, "NaN"),
    }
    assert set(history.samples(values)) == {RX, UP}


async def test_values_that_are_read_join_history_and_it_is_bounded(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """B13: at most one in five minutes, and the newest so many; forgotten with its CPE."""
    monkeypatch.setattr(history, "KEPT", 3)
    await book.cpes.called(called())
    await book.decide(NAME)
    for n in range(5):
        await book.cpes.learned(NAME, {RX: at(1000 * n, str(-n)), UP: at(100 * n, str(n))})
    assert book.cpes.samples(NAME, RX) == [(2000, "-2"), (3000, "-3"), (4000, "-4")]
    assert book.cpes.samples(NAME, UP) == [(0, "0"), (300, "3")]
    assert book.cpes.sampled(NAME) == [UP, RX]
    await book.decide(NAME, None, forget=True)
    assert book.rows("cpe_sample") == []


async def test_what_a_stranger_says_joins_no_history(book: Book) -> None:
    await book.cpes.called(called(values={UP: at(5, "5")}))
    assert book.rows("cpe_sample") == []
    await book.decide(NAME)
    await book.cpes.called(called(values={UP: at(900, "900")}))
    assert book.cpes.samples(NAME, UP) == [(900, "900")]
