"""The only log handler: JSON lines on stderr, from which nothing about a subscriber or a secret can be read.

Names decide which fields are printed, not a search: the message's own text (a constant: ruff forbids building it),
fields that stand in `ALLOWED`, and numbers. Everything else prints as `***`, so a new field is silent until
somebody thought about it. Exceptions print as their types and places, never their messages. Registered secrets are
replaced wherever they still appear. Loggers of other packages are dropped below WARNING (librouteros prints passwords
at DEBUG) and print their text without its arguments; those of `SILENT` are dropped always: httpx logs whole URLs.
"""

from __future__ import annotations

import base64
import json
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Final, TextIO

OURS: Final = frozenset({"agent", "trust", "control_plane"})
SILENT: Final = frozenset({"httpx", "httpcore"})
ALLOWED: Final = frozenset(
    {
        "attempt", "bytes", "cause", "change", "code", "config_key", "count", "crashes", "direction", "elapsed_s",
        "has", "item", "jump_s", "kind", "leaf", "ours", "path", "pause_s", "pid", "plan", "port", "reason", "schema",
        "seq", "signal", "state", "status", "step", "target", "task", "tree_size", "uid", "verdict", "version",
        "voided", "was",
    }
)  # fmt: skip
"""Fields that may be printed: codes, counts, ids of changes and targets, and the `cause` of an outage, which is
composed of the configuration and of codes. None names a subscriber."""
REDACTED: Final = "***"
SECRET_CHARS: Final = 4
"""Shorter secrets are not searched for: replacing every `ab` would leave no log."""
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_FRAMES: Final = 12

_secrets: set[str] = set()


def register_secret(secret: bytes | str) -> None:
    """Replace `secret` in every line from now on: as text, hex and base64. Ignored under SECRET_CHARS characters."""
    raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    for form in (raw.decode("utf-8", "replace"), raw.hex(), base64.b64encode(raw).decode().rstrip("=")):
        if len(form) >= SECRET_CHARS and len(raw) >= SECRET_CHARS:
            _secrets.add(form)


def scrub(text: str) -> str:
    """Return `text` with each registered secret replaced, the longest first."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text


class RedactingHandler(logging.Handler):
    """Writes one line of printable ASCII a record: control and bidirectional characters are escaped."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        package = record.name.partition(".")[0]
        ours = package in OURS
        if package in SILENT or (not ours and record.levelno < logging.WARNING):
            return
        try:
            self._stream.write(_line(record, ours=ours) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # stderr is closed or full; there is nowhere to say so


def _line(record: logging.LogRecord, *, ours: bool) -> str:
    fields: dict[str, object] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _message(record) if ours else str(record.msg),
    }
    extra = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
    for name, value in extra.items():
        fields[name] = _plain(value) if name in ALLOWED else REDACTED
    if record.exc_info and record.exc_info[1] is not None:
        fields["error"] = list(_errors(record.exc_info[1]))
    scrubbed = {name: _scrubbed(value) for name, value in fields.items()}
    # DEL is the one control character that json leaves as it is.
    return json.dumps(scrubbed, ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f")


def _message(record: logging.LogRecord) -> str:
    text = str(record.msg)
    if not record.args:
        return text
    if not isinstance(record.args, tuple):
        return text  # %(name)s takes a mapping: those go into `extra`
    try:
        return text % tuple(arg if _is_number(arg) else REDACTED for arg in record.args)
    except (TypeError, ValueError):
        return text


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _plain(value: object) -> object:
    return value if value is None or _is_number(value) else str(value)


def _scrubbed(value: object) -> object:
    if isinstance(value, list):
        return [_scrubbed(inner) for inner in value]
    return scrub(value) if isinstance(value, str) else value


def _errors(error: BaseException, depth: int = 4) -> Iterator[str]:
    """Give `Type at file:line function < file:line function…` for an exception, its causes and a group's members."""
    frames = [
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
        for frame in reversed(traceback.extract_tb(error.__traceback__)[-_FRAMES:])
    ]
    yield f"{type(error).__name__} at {' < '.join(frames) or '?'}"
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    inner = [*(error.exceptions if isinstance(error, BaseExceptionGroup) else ()), *([cause] if cause else [])]
    if depth:
        for member in inner:
            yield from _errors(member, depth - 1)


def install(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Make this the only handler of the process: other handlers are removed, warnings go through it."""
    root = logging.getLogger()
    for logger in [root, *(logging.getLogger(name) for name in list(root.manager.loggerDict))]:
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        logger.propagate = True
    root.addHandler(RedactingHandler(stream or sys.stderr))
    root.setLevel(level)
    logging.captureWarnings(capture=True)
