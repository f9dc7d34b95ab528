"""`python -m lab cpe`: what it says, and that its CPE call."""

from __future__ import annotations

import argparse

import pytest
import trio

from lab.cpe import command
from lab.cpe.errors import CpeModelError
from lab.tests.cpe.acs import Acs, listening


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


async def test_its_cpe_call_and_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    async with listening(Acs()) as url:
        args = arguments("--acs", url, "--count", "12", "--spread", "0", "--boot", "0", "--quirk", "no_cookies")
        said = ""
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(command.run, args)
                while "calling" not in said:
                    await trio.sleep(0.01)
                    said += capsys.readouterr().out
                nursery.cancel_scope.cancel()
    assert "and 2 more" in said
    assert said.count("LabGate") == 10


def test_quirks_and_firmware_are_those_of_the_arguments() -> None:
    args = arguments("--acs", "http://127.0.0.1:1/acs", "--firmware", "silent", "--quirk", "no_cookies")
    (device,) = command.make_fleet(args).devices
    assert device.quirks.firmware == "silent"
    assert device.quirks.no_cookies


@pytest.mark.parametrize("count", ["0", "20001"])
def test_too_few_or_too_many(count: str) -> None:
    with pytest.raises(CpeModelError, match="1 to 20000"):
        command.make_fleet(arguments("--acs", "http://127.0.0.1:1/acs", "--count", count))
