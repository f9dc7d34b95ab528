"""The matrix: what evidence says, in any order, and nothing where there is none."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from agent.cpe_model.matrix import (
    Cell,
    Matrix,
    MatrixRow,
    Model,
    State,
    Workflow,
    WorkflowEvidence,
    WorkflowResult,
    render,
)
from tests.builders.expect import present
from trust.moments import rfc3339

HG = Model("00259E", "HG8245H", "V3R017C10S115")
HG_OLD = Model("00259E", "HG8245H", "V3R016C00S100")
NOON = 1_764_072_000.0  # 2025-11-25 12:00 UTC

MODELS = st.builds(
    Model, st.sampled_from(["00259E", "02AC15"]), st.sampled_from(["A", "B"]), st.sampled_from(["1", "2"])
)
EVIDENCE = st.builds(
    WorkflowEvidence,
    MODELS,
    st.sampled_from(Workflow),
    st.sampled_from(WorkflowResult),
    st.integers(0, 1 << 40).map(float),
    st.text(),
)


def test_nothing_is_known_without_evidence() -> None:
    matrix = Matrix.of([])
    assert matrix.models == ()
    assert render(matrix) == ()
    assert matrix.cell(HG, Workflow.PING) == Cell(HG, Workflow.PING)
    assert {cell.state for cell in matrix.of_model(HG)} == {State.NEVER_TRIED}


def test_the_states_of_a_cell() -> None:
    matrix = Matrix.of(
        [
            WorkflowEvidence(HG, Workflow.PING, WorkflowResult.PROVEN, NOON, "4 of 4"),
            WorkflowEvidence(HG, Workflow.PING, WorkflowResult.PROVEN, NOON - 60, "3 of 4"),
            WorkflowEvidence(HG, Workflow.FIRMWARE, WorkflowResult.FAILED, NOON, "SoftwareVersion is as before"),
            WorkflowEvidence(HG, Workflow.REBOOT, WorkflowResult.PROVEN, NOON - 3600, "booted after 81 s"),
            WorkflowEvidence(HG, Workflow.REBOOT, WorkflowResult.FAILED, NOON, "no boot within 600 s"),
            WorkflowEvidence(HG, Workflow.REBOOT, WorkflowResult.PROVEN, NOON - 7200, "booted after 80 s"),
        ]
    )
    assert [matrix.cell(HG, w).state for w in (Workflow.PING, Workflow.FIRMWARE, Workflow.REBOOT, Workflow.WIFI)] == [
        State.PROVEN, State.FAILED, State.MIXED, State.NEVER_TRIED,
    ]  # fmt: skip
    assert render(matrix, tried_only=True) == (
        MatrixRow(
            "00259E", "HG8245H", HG.software, "reboot", "mixed: 2 proven, 1 failed, last failed", rfc3339(NOON),
            "no boot within 600 s"),
        MatrixRow("00259E", "HG8245H", HG.software, "firmware", "failed (1)", rfc3339(NOON),
            "SoftwareVersion is as before"),
        MatrixRow("00259E", "HG8245H", HG.software, "ping", "proven (2)", rfc3339(NOON), "4 of 4"),
    )  # fmt: skip


def test_every_model_has_every_workflow() -> None:
    matrix = Matrix.of(
        [
            WorkflowEvidence(HG, Workflow.INFORM, WorkflowResult.PROVEN, NOON),
            WorkflowEvidence(HG_OLD, Workflow.INFORM, WorkflowResult.PROVEN, NOON),
        ]
    )
    rows = render(matrix)
    assert [row.software for row in rows] == [HG_OLD.software] * 15 + [HG.software] * 15
    assert [row.workflow for row in rows[:15]] == [workflow.value for workflow in Workflow]
    assert {row.state for row in rows} == {"proven (1)", "never tried"}
    assert {(row.last, row.detail) for row in rows if row.state == "never tried"} == {(None, "")}


def test_of_two_at_the_same_moment_the_later_told_is_the_last() -> None:
    told = [
        WorkflowEvidence(HG, Workflow.READ, WorkflowResult.FAILED, NOON),
        WorkflowEvidence(HG, Workflow.READ, WorkflowResult.PROVEN, NOON),
    ]
    last = present(Matrix.of(told).cell(HG, Workflow.READ).last)
    assert last.result is WorkflowResult.PROVEN


def test_texts_of_a_cpe_are_made_harmless_bad_times_left_out() -> None:
    model = Model("00259E", "HG\x1b[2J", "V1\n")
    (row,) = render(
        Matrix.of([WorkflowEvidence(model, Workflow.READ, WorkflowResult.FAILED, float("inf"), "a\u202eb")]),
        tried_only=True,
    )
    assert (row.product_class, row.software, row.last, row.detail) == ("HG\\u001b[2J", "V1\\u000a", None, "a\\u202eb")
    (row,) = render(
        Matrix.of([WorkflowEvidence(HG, Workflow.READ, WorkflowResult.FAILED, float("nan"))]), tried_only=True
    )
    assert row.last is None


@given(evidence=st.lists(EVIDENCE, unique_by=lambda one: one.at_s), seed=st.integers())
def test_the_order_of_evidence_does_not_matter(evidence: list[WorkflowEvidence], seed: int) -> None:
    shuffled = list(evidence)
    random.Random(seed).shuffle(shuffled)
    assert Matrix.of(shuffled) == Matrix.of(evidence)


@given(evidence=st.lists(EVIDENCE))
def test_no_evidence_is_lost_and_none_is_made_up(evidence: list[WorkflowEvidence]) -> None:
    matrix = Matrix.of(evidence)
    cells = [cell for model in matrix.models for cell in matrix.of_model(model)]
    assert sum(cell.proven + cell.failed for cell in cells) == len(evidence)
    for cell in cells:
        of_it = [one for one in evidence if (one.model, one.workflow) == (cell.model, cell.workflow)]
        results = {one.result for one in of_it}
        states = {0: {State.NEVER_TRIED}, 1: {State.PROVEN, State.FAILED}, 2: {State.MIXED}}
        assert cell.state in states[len(results)]
        assert (cell.last is None) == (not of_it)
        assert cell.last is None or cell.last.at_s == max(one.at_s for one in of_it)
    assert len(render(matrix)) == len(matrix.models) * len(Workflow)
