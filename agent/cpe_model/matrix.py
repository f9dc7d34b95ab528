"""The compatibility matrix: the workflows that each model and firmware was seen to do, from evidence alone. Pure.

No row here says "every CPE behaves the same": a workflow is proven for a model and a firmware when it was seen to work
there, failed when it was seen to fail, and otherwise never tried. Both seen is `mixed`, with the counts and the last
result: a firmware that upgrades two of three CPE is neither proven nor failed.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from trust.moments import moment_json
from trust.terminal import neutralize


class Workflow(enum.Enum):
    """The workflows that an operator wants of a CPE, in the order of the table."""

    INFORM = "inform"
    READ = "read"
    WIFI = "wifi"
    HOSTS = "hosts"
    SET_PARAMETERS = "set-parameters"
    ADD_OBJECT = "add-object"
    REBOOT = "reboot"
    FACTORY_RESET = "factory-reset"
    FIRMWARE = "firmware"
    PING = "ping"
    TRACEROUTE = "traceroute"
    DOWNLOAD_TEST = "download-test"
    UPLOAD_TEST = "upload-test"
    WIFI_SCAN = "wifi-scan"
    CONNECTION_REQUEST = "connection-request"


class WorkflowResult(enum.Enum):
    """How a workflow ended, as read back from the CPE. One that is not known is no evidence."""

    PROVEN = "proven"
    FAILED = "failed"


class State(enum.Enum):
    """The state of a workflow on a model."""

    PROVEN = "proven"
    FAILED = "failed"
    MIXED = "mixed"
    NEVER_TRIED = "never tried"


@dataclass(frozen=True, slots=True, order=True)
class Model:
    """A kind of CPE with its firmware: as in DeviceId, and SoftwareVersion."""

    oui: str
    product_class: str
    software: str


@dataclass(frozen=True, slots=True)
class WorkflowEvidence:
    """One workflow that was run on one CPE. `at_s`: seconds since 1970. `detail`: for people, without secrets."""

    model: Model
    workflow: Workflow
    result: WorkflowResult
    at_s: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """The evidence for a workflow on a model: how often it worked and failed, and the last result."""

    model: Model
    workflow: Workflow
    proven: int = 0
    failed: int = 0
    last: WorkflowEvidence | None = None

    @property
    def state(self) -> State:
        if self.proven and self.failed:
            return State.MIXED
        if self.proven:
            return State.PROVEN
        return State.FAILED if self.failed else State.NEVER_TRIED

    def with_(self, evidence: WorkflowEvidence) -> Cell:
        """Return this cell with one more evidence. Of two of the same moment, the one told later is the last."""
        worked = evidence.result is WorkflowResult.PROVEN
        last = evidence if self.last is None or evidence.at_s >= self.last.at_s else self.last
        return Cell(self.model, self.workflow, self.proven + worked, self.failed + (not worked), last)


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """A cell as people see it: texts that are safe on a terminal. `last`: RFC 3339, None where never."""

    oui: str
    product_class: str
    software: str
    workflow: str
    state: str
    last: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """The cells of every model that there is evidence for."""

    cells: Mapping[tuple[Model, Workflow], Cell]

    @classmethod
    def of(cls, evidence: Iterable[WorkflowEvidence]) -> Matrix:
        """Return the matrix of all evidence, in any order."""
        cells: dict[tuple[Model, Workflow], Cell] = {}
        for one in evidence:
            key = one.model, one.workflow
            cells[key] = cells.get(key, Cell(*key)).with_(one)
        return cls(cells)

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that there is evidence for, sorted."""
        return tuple(sorted({model for model, _ in self.cells}))

    def cell(self, model: Model, workflow: Workflow) -> Cell:
        """Return the evidence for a workflow on a model, empty where there is none."""
        return self.cells.get((model, workflow), Cell(model, workflow))

    def of_model(self, model: Model) -> tuple[Cell, ...]:
        """Return a cell for every workflow."""
        return tuple(self.cell(model, workflow) for workflow in Workflow)


def render(matrix: Matrix, *, tried_only: bool = False) -> tuple[MatrixRow, ...]:
    """Return the rows of a table: by model, and in each the workflows in their order.

    Args:
        matrix: the evidence.
        tried_only: leave out workflows that were never tried.
    """
    return tuple(_rows(matrix, tried_only))


def _rows(matrix: Matrix, tried_only: bool) -> Iterator[MatrixRow]:
    for model in matrix.models:
        for cell in matrix.of_model(model):
            if tried_only and cell.last is None:
                continue
            yield MatrixRow(
                oui=neutralize(model.oui),
                product_class=neutralize(model.product_class),
                software=neutralize(model.software),
                workflow=cell.workflow.value,
                state=_state(cell),
                last=None if cell.last is None else moment_json(cell.last.at_s),
                detail="" if cell.last is None else neutralize(cell.last.detail),
            )


def _state(cell: Cell) -> str:
    """Return `proven (3)`, `never tried`, or `mixed: 3 proven, 1 failed, last failed`."""
    if cell.last is None:
        return cell.state.value
    if cell.state is State.MIXED:
        return f"mixed: {cell.proven} proven, {cell.failed} failed, last {cell.last.result.value}"
    return f"{cell.state.value} ({cell.proven + cell.failed})"
