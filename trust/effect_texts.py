"""How the arguments of an effect read in a preview. Pure.

A disconnect has arguments that say which sessions it ends. They are for programs, so a person gets them in sentences.
Whatever is not known here, or holds another value than expected, is printed as it stands: nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Final

from trust.moments import LATEST_S, moment_text

_Args = Mapping[str, str]
_DISCONNECT: Final = "disconnect"


def argument_texts(verb: str, args: _Args) -> list[str]:
    """Return the arguments of an effect for people, each a part of a line; `render` neutralizes them."""
    known = _SENTENCES if verb == _DISCONNECT else {}
    told = {name: text for name in known if name in args and (text := known[name](args))}
    others = {name for name in _SAID_WITH if _SAID_WITH[name] in told}
    rest = [f"{name}={text}" for name, text in args.items() if name not in told and name not in others]
    return [*([" ".join(rest)] if rest else []), *told.values()]


def _now(args: _Args) -> str:
    return f"now: {args['now']}"


def _on_configured(args: _Args) -> str:
    return "only sessions on a configured NAS" if args["nas"] == "configured" else ""


def _spares_in(args: _Args) -> str:
    return f"spares a session in {args['not-in']}" if args["not-in"] else ""


def _ends_in(args: _Args) -> str:
    return f"ends every session in {args['in']}" if args["in"] else ""


def _ends_known(args: _Args) -> str:
    many = len([one for one in args["known"].split(",") if one])
    return f"ends the {many} session{'s' if many > 1 else ''} that the preview saw" if many else ""


def _spares_later(args: _Args) -> str:
    since = _time(args["right-since"])
    return f"spares others that began after {since}" if since else ""


def _spares_outside(args: _Args) -> str:
    since = _time(args["outside"])
    return f"spares others that began elsewhere since about {since}" if since else ""


def _asks(args: _Args) -> str:
    names = [one for one in args["by-user-name"].split(",") if one]
    if not names:
        return ""
    asked = f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} asked by User-Name"
    silent = f", also if {'they were' if len(names) > 1 else 'it was'} silent just now"
    return f"where accounting has none, {asked}{silent if args.get('each-answers') == 'yes' else ''}"


def _time(text: str) -> str:
    """Return a time given in unix seconds, or "" where the text is none."""
    if not (text.isascii() and text.isdecimal() and len(text) < 13 and int(text) <= LATEST_S):
        return ""
    return moment_text(int(text), UTC, seconds=True)


_SENTENCES: Final[Mapping[str, Callable[[_Args], str]]] = {
    "now": _now,
    "nas": _on_configured,
    "not-in": _spares_in,
    "in": _ends_in,
    "known": _ends_known,
    "right-since": _spares_later,
    "outside": _spares_outside,
    "by-user-name": _asks,
}
"""By the argument's name, in the order in which they are read; "" where its value is none that it may have."""
_SAID_WITH: Final[Mapping[str, str]] = {"each-answers": "by-user-name"}
"""Arguments that are part of another one's sentence."""
