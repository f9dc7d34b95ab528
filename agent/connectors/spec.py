"""The one thing that a connector's folder exports: `SPEC`, a `ConnectorSpec`.

Configuration, wanted secrets, daemon, API and command line are built from the specs that `registry` lists; nothing
above `agent.connectors` names a connector. Importing a spec is cheap: the factory imports the connector itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from agent.billing_model.terms import SourceTerms
from agent.config_reader import ConfigReader
from agent.config_schema import Key
from agent.connectors.base import AnswerBook, AnswerRow, Connector, NoAnswers, Question, SessionHost
from agent.cpe_model.known import CpeBook

if TYPE_CHECKING:
    from agent.runtime.clock import Clock

C = TypeVar("C")
"""A connector's own configuration, a frozen dataclass."""


@dataclass(frozen=True, slots=True)
class AccessMap:
    """An access method as the inventory sees it: the target that decides it, and its tariffs.

    `same`: brings a login to the one spelling in which the target compares it, as where that ignores case. `also_on`:
    other targets on which the same login is the subscriber's. `addressed`: a login is addresses and networks, comma
    separated, not a name.
    """

    name: str
    target: str
    tariffs: frozenset[str]
    same: Callable[[str], str] = str
    also_on: tuple[str, ...] = ()
    addressed: bool = False


@dataclass(frozen=True, slots=True)
class ConnectorContext:
    """Everything beside its configuration that a connector is made from.

    Args:
        secrets: the vault: name -> secret, or UnreadableError. May be called from any thread.
        commit: keyed commitment: (label, secret value) -> 64 hex digits.
        zone: the operator's time zone.
        clock: the clocks of everything that takes time.
        cpes: the store of CPE, for connectors by which CPE are managed.
        answers: keeps answers of devices over a restart.
        hosts: each kind of device that knows other connectors' sessions, by the first word of a target's id.
    """

    secrets: Callable[[str], bytes]
    commit: Callable[[str, str], str]
    zone: tzinfo
    clock: Clock
    cpes: CpeBook
    answers: AnswerBook = field(default_factory=NoAnswers)
    hosts: Mapping[str, SessionHost] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands of a connector on the command line, imported when they are needed.

    Args:
        group: the group of `ispagent` that they join; one that does not exist is made.
        app: `MODULE:NAME` of a `typer.Typer`.
        about: the purpose of a group that is made, in one line.
    """

    group: str
    app: str
    about: str = ""


class AsksAgent(Protocol):
    """The running agent, for a connector's commands: `typer.Context.obj` is one."""

    def ask(self, connector: str, question: Question) -> Iterator[AnswerRow]:
        """Yield the rows of an answer as they come. A refusal, and an agent that does not run, end the program."""
        ...


def _no_access_methods(_: object) -> Sequence[AccessMap]:
    return ()


def _no_sources(_: object) -> Sequence[SourceTerms]:
    return ()


def _is_never_idle(_: object) -> bool:
    return False


class HasSources(Protocol):
    """A configuration of systems that the agent reads."""

    @property
    def sources(self) -> Sequence[object]:
        """The configured systems, without those that have problems."""
        ...


def has_no_sources(config: HasSources) -> bool:
    """Return whether a configuration names no system to read; for `ConnectorSpec.idle`."""
    return not config.sources


@dataclass(frozen=True, slots=True)
class ConnectorSpec(Generic[C]):
    """The descriptor that a connector's folder exports.

    Args:
        name: first word of its targets' ids, a-z, 0-9 and -.
        keys: every key of its sections in the configuration file.
        parse: reads its sections; problems go to the reader.
        secrets: the names of the secrets that a configuration uses.
        make: the factory. It imports the connector when it is called.
        docs: its page, relative to the repository's root.
        roles: the protocols of `base` that it plays.
        access: the access methods that a configuration declares.
        method_sections: the sections that declare them. A name stands in one of all connectors' sections only.
        host: its knowledge of sessions on its targets that other connectors decide about.
        commands: its own commands, a `typer.Typer` named as MODULE:NAME, and the group that they join or make.
        sources: the billing sources that a configuration declares.
        reload: takes over the settings that need no restart from a new configuration: (running, read anew).
        idle: says that it has nothing to do under a configuration: the agent does not make it, and imports none of it.
    """

    name: str
    keys: tuple[Key, ...]
    parse: Callable[[ConfigReader], C]
    secrets: Callable[[C], Collection[str]]
    make: Callable[[C, ConnectorContext], Connector]
    docs: str
    roles: tuple[type, ...]
    access: Callable[[C], Sequence[AccessMap]] = _no_access_methods
    method_sections: tuple[str, ...] = ()
    host: Callable[[], SessionHost] | None = None
    commands: Commands | None = None
    sources: Callable[[C], Sequence[SourceTerms]] = _no_sources
    reload: Callable[[C, C], None] | None = None
    idle: Callable[[C], bool] = _is_never_idle


@dataclass(frozen=True, slots=True)
class Configured(Generic[C]):
    """A connector with the configuration that it was given."""

    spec: ConnectorSpec[C]
    config: C

    @property
    def secrets(self) -> Collection[str]:
        """The names of the secrets that it uses."""
        return self.spec.secrets(self.config)

    @property
    def access(self) -> Sequence[AccessMap]:
        """The access methods that it decides."""
        return self.spec.access(self.config)

    @property
    def sources(self) -> Sequence[SourceTerms]:
        """The billing sources that it reads."""
        return self.spec.sources(self.config)

    def reload(self, fresh: Configured[C]) -> None:
        """Take over the settings that need no restart from a configuration that was read anew."""
        if self.spec.reload is not None:
            self.spec.reload(self.config, fresh.config)

    def make(self, context: ConnectorContext) -> Connector:
        """Return the connector; nothing is opened yet.

        Raises:
            TypeError: it does not play a role that its spec declares.
        """
        made = self.spec.make(self.config, context)
        for role in self.spec.roles:
            if not isinstance(made, role):
                raise TypeError(f"connector {self.spec.name}: expected it to play {role.__name__}")
        return made


def configured(spec: ConnectorSpec[C], reader: ConfigReader) -> Configured[C]:
    """Return a connector with its part of the configuration file."""
    return Configured(spec, spec.parse(reader))
