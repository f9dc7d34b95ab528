"""Nothing gets into the log that was not thought about."""

from __future__ import annotations

import ast
import base64
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.runtime import redacting_log
from agent.runtime.redacting_log import RedactingHandler, install, register_secret, scrub
from tests.builders.expect import expect


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, secrets = logging.getLogger(), set(redacting_log._secrets)
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level
    redacting_log._secrets.clear()
    redacting_log._secrets.update(secrets)


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    install(stream)
    return stream


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line(out: io.StringIO) -> None:
    logging.getLogger("agent.changes").info("step %d done", 3, extra={"change": "K7QF", "subscriber": "amina"})
    (line,) = lines(out)
    at = expect(str, line.pop("at"))
    assert len(at) == len("2026-01-01T00:00:00.000Z")
    assert line == {
        "level": "info",
        "logger": "agent.changes",
        "message": "step 3 done",
        "change": "K7QF",
        "subscriber": "***",
    }


def test_arguments_that_are_no_numbers_are_redacted(out: io.StringIO) -> None:
    log = logging.getLogger("agent")
    log.warning("user %s has %.1f Mbit/s", "amina.h", 2.5)
    for template, args in [("wrong %d", ("amina.h",)), ("%(login)s", ({"login": "amina.h"},))]:
        # straight to ours: pytest's own handler would raise on the first
        RedactingHandler(out).emit(log.makeRecord("agent", logging.WARNING, "f", 1, template, args, None))
    assert [line["message"] for line in lines(out)] == ["user *** has 2.5 Mbit/s", "wrong %d", "%(login)s"]


def test_foreign_loggers(out: io.StringIO) -> None:
    foreign = logging.getLogger("librouteros.sentence")
    foreign.setLevel(logging.DEBUG)
    foreign.debug("=password=%s", "hunter22")
    foreign.info("=password=hunter22")
    foreign.warning("closed by %s", "amina.h")
    (line,) = lines(out)
    assert line["message"] == "closed by %s"


def test_exceptions_show_types_and_places_only(out: io.StringIO) -> None:
    try:
        try:
            raise KeyError("amina.h")
        except KeyError as err:
            raise ExceptionGroup("amina.h", [ValueError("amina.h")]) from err
    except ExceptionGroup:
        logging.getLogger("agent").exception("a task crashed")
    assert "amina" not in out.getvalue()
    (line,) = lines(out)
    error = expect(list, line["error"])
    assert [entry.partition(" at ")[0] for entry in error] == ["ExceptionGroup", "ValueError", "KeyError"]
    assert "test_redacting_log.py" in error[0]


def test_registered_secrets_in_all_forms(out: io.StringIO) -> None:
    secret = "s3cret\n'pass\x7f"
    register_secret(secret)
    register_secret(b"\xff\x00\x01\x02\x03")
    forms = [secret, secret.encode().hex(), base64.b64encode(secret.encode()).decode(), "ff00010203"]
    for form in forms:
        logging.getLogger("agent").warning(f"got {form}")  # noqa: G004 - what must not happen
        logging.getLogger("agent").warning("got", extra={"reason": form})
    assert out.getvalue().count("***") == 2 * len(forms)
    assert "s3cret" not in out.getvalue()


def test_short_secrets_and_overlaps() -> None:
    register_secret("ab")
    register_secret("longer")
    register_secret("longer-still")
    assert scrub("ab longer-still longer") == "ab *** ***"


def test_control_and_bidi_characters_cannot_act_on_a_terminal(out: io.StringIO) -> None:
    logging.getLogger("agent").warning("x", extra={"reason": "\x1b[2J\r\n\x7f\x9b\u202eé"})
    text = out.getvalue()
    assert text.endswith("\n")
    assert all(" " <= char <= "~" for char in text[:-1])
    assert lines(out)[0]["reason"] == "\x1b[2J\r\n\x7f\x9b\u202eé"


def test_install_leaves_one_handler(out: io.StringIO) -> None:
    other = logging.getLogger("other.lib")
    other.addHandler(logging.StreamHandler(io.StringIO()))
    other.propagate = False
    logging.captureWarnings(False)  # pytest changes the hook between set-up and call
    install(out)
    assert other.handlers == []
    assert [type(handler) for handler in logging.getLogger().handlers] == [RedactingHandler]
    other.warning("seen once")
    warnings.showwarning("mind the gap", UserWarning, "f", 1)
    assert [line["logger"] for line in lines(out)] == ["other.lib", "py.warnings"]


def test_a_closed_stream_does_not_raise(out: io.StringIO) -> None:
    out.close()
    logging.getLogger("agent").warning("nobody reads this")


def log_calls() -> list[tuple[str, ast.Call]]:
    found = []
    for path in sorted((Path(__file__).parents[3] / "agent").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of = node.func.value
                if isinstance(of, ast.Name) and of.id in ("_log", "log") and node.func.attr in LEVELS:
                    found.append((f"{path.name}:{node.lineno}", node))
    return found


LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def test_no_line_of_the_agent_is_blanked_as_a_whole() -> None:
    """A message that is only its argument prints as `***`, and so does a field that nobody allowed."""
    calls = log_calls()
    assert len(calls) > 20
    bare = [where for where, call in calls if isinstance(call.args[0], ast.Constant) and "%s" in call.args[0].value]
    assert bare == []
    silent = [
        (where, key.value)
        for where, call in calls
        for keyword in call.keywords
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict)
        for key in keyword.value.keys
        if isinstance(key, ast.Constant) and key.value not in redacting_log.ALLOWED
    ]
    assert silent == []
