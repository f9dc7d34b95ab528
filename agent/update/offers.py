"""Names and documents in a repository: which package a channel offers to which machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final

from agent.update.errors import ChannelRefusedError
from trust.errors import MalformedError
from trust.strict_json import read_object_untrusted

VERSION: Final = re.compile(r"[0-9][0-9A-Za-z.+~]{0,63}(-[0-9A-Za-z.+~]{1,32})?", re.ASCII)
"""A version of a Debian package without an epoch."""
PRODUCT: Final = re.compile(r"[a-z][a-z0-9-]{1,31}", re.ASCII)
WORD: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,31}", re.ASCII)
LOWEST: Final = "lowest"
"""In the signed word of a package: the oldest version that it may be installed over."""
OFFER: Final = "the channel's offer"
OFFER_BYTES: Final = 4096
PACKAGE_BYTES: Final = 512 << 20
"""A package is some 40 MB; more than this is not one."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package, as dpkg names it. `release`: of Debian, such as `13`."""

    product: str
    version: str
    release: str
    arch: str

    @property
    def target(self) -> str:
        """Return the path of its file in the repository."""
        return f"pool/debian-{self.release}/{self.product}_{self.version}_{self.arch}.deb"

    def version_of(self, target: str) -> str:
        """Return the version of another package for the same machine, by its path in the repository; "": it is none."""
        before, after = replace(self, version="\0").target.split("\0")
        version = target.removeprefix(before).removesuffix(after)
        return version if target == f"{before}{version}{after}" and VERSION.fullmatch(version) else ""


def offer_path(channel: str, product: str, release: str, arch: str) -> str:
    """Return the path of the document that says which package a channel offers to a machine."""
    return f"channels/{channel}/{product}/debian-{release}/{arch}.json"


def encode_offer(offered: Package) -> bytes:
    """Return the document that offers a package."""
    return json.dumps(asdict(offered), sort_keys=True).encode()


def read_offer_untrusted(data: bytes, here: Package) -> Package:
    """Return the package that a document offers to the machine on which `here` is installed.

    Raises:
        ChannelRefusedError: it is malformed, or for another product, release of Debian or architecture.
    """
    names = ("product", "version", "release", "arch")
    try:
        found = read_object_untrusted(data, OFFER_BYTES, OFFER).only_texts(*names)
    except MalformedError as err:
        raise ChannelRefusedError(str(err)) from err
    for name, value, pattern in zip(names, found, (PRODUCT, VERSION, WORD, WORD), strict=True):
        if not pattern.fullmatch(value):
            raise ChannelRefusedError(f"{OFFER}: {name}: expected {pattern.pattern}, got {ascii(value)[:60]}")
    offered = Package(*found)
    for name in ("product", "release", "arch"):
        if getattr(offered, name) != getattr(here, name):
            raise ChannelRefusedError(
                f"the channel offers {offered.product} for Debian {offered.release} on {offered.arch}; this machine has"
                f" {here.product}, Debian {here.release} and {here.arch}"
            )
    return offered


def read_lowest_untrusted(custom: object, target: str) -> str:
    """Return the oldest version that a package may be installed over, by its signed fields.

    Args:
        custom: the signers' addition to the package's length and hash.
        target: its path, for the message.

    Raises:
        ChannelRefusedError: it is missing or malformed. Without it, nobody has judged which versions it may replace.
    """
    found = custom.get(LOWEST) if isinstance(custom, Mapping) else None
    if not isinstance(found, str) or not VERSION.fullmatch(found):
        raise ChannelRefusedError(
            f"{target}: expected the oldest version that it may be installed over, got {ascii(found)[:60]}: its signers"
            " add it anew with a newer packaging/release"
        )
    return found
