"""`ispagent update`: updates of the program, verified twice; a person decides to install them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from agent.cli import client
from agent.cli.client import fail, print_json

if TYPE_CHECKING:
    from agent.update.offers import Package

T = TypeVar("T")

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Config = Annotated[Path, typer.Option("--config", help="The file that names the channel")]
To = Annotated[str, typer.Option("--to", help="This version and not the offered one; it may be an older one")]
DEFAULT = Path("/etc/ispagent/update.toml")


@app.command("check")
def check(config: Config = DEFAULT, as_json: AsJson = False) -> None:
    """Ask the channel for its newest version; nothing is fetched. Run it as the user that may write to its folder."""
    from agent.update import repository_session
    from agent.update.channel import load_channel

    here = _done(_here)
    offered = _done(lambda: repository_session.check(load_channel(config), here))
    if as_json:
        print_json({"installed": asdict(here), "offered": asdict(offered), "newer": _newer(offered, here)})
    else:
        print(_difference(here, offered))


@app.command("fetch")
def fetch(config: Config = DEFAULT, to: To = "", as_json: AsJson = False) -> None:
    """Fetch and verify the offered version, and the installed one to put back. Installs nothing."""
    from agent.update import repository_session
    from agent.update.channel import load_channel

    here = _done(_here)
    fetched = _done(lambda: repository_session.fetch(load_channel(config), here, _version(to)))
    if as_json:
        print_json({"installed": asdict(here), "fetched": asdict(fetched)})
    else:
        print(f"fetched and verified: {_name(fetched)}; installed: {here.version}; next: ispagent update apply")


@app.command("apply")
def apply(
    config: Config = DEFAULT,
    to: To = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
) -> None:
    """Verify the fetched update once more, as root, and install it. If it does not start in 60 s, put the old one back.

    Exit code 1: the version from before runs, since nothing was changed or it was put back. Exit code 4: neither runs.
    """
    from agent.update import host_session, repository_session
    from agent.update.channel import load_channel

    channel = _done(lambda: load_channel(config))

    def install() -> None:
        with repository_session.applying(channel):
            host_session.refuse_if_cut()
            here = host_session.installed()
            found = repository_session.prepare(channel, here, _version(to))
            host_session.check_package(found.new, found.offered)
            if not to and not _newer(found.offered, here):
                print(_difference(here, found.offered))
                return
            back = (
                f"{here.version} is put back" if found.old else "nothing is put back: the channel has no package of it"
            )
            print(f"{_name(here)} -> {found.offered.version}; if it does not start, {back}")
            if not yes and not typer.confirm("install it?"):
                fail("nothing was installed", client.REFUSED)
            host_session.apply(found.new, found.old)

    _done(install)


def _here() -> Package:
    from agent.update import host_session

    return host_session.installed()


def _newer(offered: Package, here: Package) -> bool:
    from agent.update import host_session

    return _done(lambda: host_session.newer(offered.version, here.version))


def _version(to: str) -> str:
    from agent.update.offers import VERSION

    if to and not VERSION.fullmatch(to):
        fail(f"--to: expected a version such as 0.2.0, got {to}", client.USAGE)
    return to


def _name(one: Package) -> str:
    return f"{one.product} {one.version}"


def _difference(here: Package, offered: Package) -> str:
    if _newer(offered, here):
        return f"{_name(here)} is installed; the channel offers {offered.version}: ispagent update fetch"
    return f"{_name(here)} is installed; the channel offers {offered.version}: nothing to do"


def _done(work: Callable[[], T]) -> T:
    """Return the result of `work`, or leave with the exit code of its error."""
    from agent.update import errors

    try:
        return work()
    except errors.ChannelConfigError as err:
        fail(str(err), client.USAGE)
    except errors.ChannelRefusedError as err:
        fail(str(err), client.REFUSED)
    except errors.UpdateError as err:
        fail(str(err), client.FAILED)
