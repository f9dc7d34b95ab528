"""Access methods on routers as tables: what a router reads before, what is wanted, and what is then done or refused.

A file of `access_cases` for each method has cases, each with a name and rows. The keys of a row:

- `want`: "suspended" or "active", with the tariff behind it where it is not the service's; or "disconnect";
- `method`, of the row or of its case: which of the recipe's METHODS, if not the first; `tariff`: the service's own;
- what the router reads, by the names of the recipe's `seen_of`. A name in capitals is a constant of the recipe; `of` is
  one of them with other keys, where `false` takes a key away; `garden` is the row of profile `suspended`;
- `does`: every write and effect of the plan, in order, each effect once the write stands. Nothing is left out;
- `refused`: the reason, in place of `does`;
- `says`: words that people are shown of it, each shown text between two bars; `never`: a word that they are not;
- `then`: what is judged once the writes stand and all else reads as before;
- `judged`: true where nothing is done and the state is watched all the same, as of a row that staff disabled.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agent.connectors.base import AccessPlan
from agent.model import Access, Address, Effect, Seen, ServiceState, Transition
from tests.agent.connectors.answers import plan_of, refused, writes_of
from tests.agent.connectors.routeros import dhcp_recipe, hotspot_recipe, ppp_recipe

FOLDER = Path(__file__).parent / "access_cases"
RECIPES: dict[str, ModuleType] = {"dhcp": dhcp_recipe, "hotspot": hotspot_recipe, "ppp": ppp_recipe}
OF_ROW = {"want", "method", "tariff", "garden", "does", "refused", "says", "never", "judged", "then"}

Row = dict[str, Any]


def cases() -> Iterator[object]:
    for kind in RECIPES:
        for case in tomllib.loads((FOLDER / f"{kind}.toml").read_text(encoding="utf-8"))["case"]:
            shared = {key: value for key, value in case.items() if key not in ("name", "rows")}
            for n, row in enumerate(case["rows"], 1):
                yield pytest.param(kind, {**shared, **row}, id=f"{kind}-{case['name']}-{n}")


def value_of(recipe: ModuleType, text: Any) -> Any:
    """Return a value of a table as the recipe takes it."""
    if isinstance(text, str):
        return getattr(recipe, text, text) if text.isupper() else text
    if isinstance(text, list):
        rows = [value_of(recipe, one) for one in text]
        return [(str(n), row) for n, row in enumerate(rows)] if rows and isinstance(rows[0], dict) else rows
    if not isinstance(text, dict):
        return text
    of = dict(getattr(recipe, text["of"])) if "of" in text else {}
    changed = of | {key: value_of(recipe, value) for key, value in text.items() if key != "of"}
    return {key: value for key, value in changed.items() if value is not False}


def seen_by(recipe: ModuleType, row: Row) -> dict[str, Any]:
    seen = {key: value_of(recipe, value) for key, value in row.items() if key not in OF_ROW}
    if "garden" in row:
        seen["profiles"] = {**recipe.PROFILES, "suspended": {"name": "suspended", **row["garden"]}}
    return seen


def told(recipe: ModuleType, change: Transition) -> str:
    """Return what a write changes, as a table says it."""
    where = "" if change.address == recipe.ROW else f"{change.address.split('/', 2)[2]}: "
    before, after = change.before.value, change.after
    if not isinstance(after, Mapping):
        return f"{where}remove"
    was = before if isinstance(before, Mapping) else {}
    parts = [f"{key}={after[key]}" for key in sorted(after) if after[key] != was.get(key)]
    parts += [f"no {key}" for key in sorted(set(was) - set(after))]
    return f"{where}{'set' if was else 'add'} {', '.join(parts)}"


def done(recipe: ModuleType, plan: AccessPlan) -> str:
    told_of = [
        [f"{step.do.verb} {step.do.address.split('/', 2)[2]}"]
        if isinstance(step.do, Effect)
        else [told(recipe, change) for change in step.do]
        for step in plan.steps
    ]
    return "; ".join(one for step in told_of for one in step)


def recipe_of(recipe: ModuleType, row: Row) -> Any:
    return recipe.RECIPE(recipe.METHODS[row.get("method", next(iter(recipe.METHODS)))])


def answer(recipe: ModuleType, row: Row) -> tuple[object, Mapping[Address, Seen]]:
    """Return what the access method answers to a row, and what it had read."""
    made = recipe_of(recipe, row)
    service = replace(recipe.SERVICE, tariff=row.get("tariff", recipe.SERVICE.tariff))
    seen = recipe.seen_of(**seen_by(recipe, row))
    access, _, tariff = row["want"].partition(" ")
    if access == "disconnect":
        return made.disconnect(service, seen), seen
    wanted = ServiceState(Access(access), tariff or recipe.SERVICE.tariff)
    return made.plan(wanted, service, seen), seen


@pytest.mark.parametrize(("kind", "row"), list(cases()))
def test_planned(kind: str, row: Row) -> None:
    recipe = RECIPES[kind]
    found, seen = answer(recipe, row)
    says = row.get("says", {})
    words = [says] if isinstance(says, str) else says
    if "refused" in row:
        refused(found, row["refused"], *words)
        return
    plan = plan_of(found)
    assert done(recipe, plan) == row["does"]
    behind = (1,) if writes_of(plan) else ()
    assert [step.n for step in plan.steps] == list(range(1, len(plan.steps) + 1))
    assert all(step.after == (() if step.n == 1 else behind) for step in plan.steps)
    shown = f"| {' | '.join(plan.display.values())} |"
    assert [word for word in words if word not in shown] == [], shown
    assert row.get("never", "\0") not in shown
    suspended = row["want"].startswith("suspended")  # its rules are looked at again before it is recorded alone
    assert (plan.enforce is not None) == row.get(
        "judged", suspended or (bool(plan.steps) and row["want"] != "disconnect")
    )
    assert all(change.before.value == seen[change.address].value for change in writes_of(plan))
    if plan.enforce is not None and not writes_of(plan):
        assert plan.rests_on == (recipe.ROW,), "no write would tell that somebody changed it meanwhile"
    if "then" in row:
        assert plan.enforce is not None
        written = {change.address: replace(seen[change.address], value=change.after) for change in writes_of(plan)}
        judged = recipe_of(recipe, row).judge(plan.enforce, {**seen, **written}, {})
        assert f"{judged.enforced.name} {judged.how}" == row["then"]
        assert any(word.strip("| ") in judged.detail for word in words) or not words


def test_tables_are_those_of_the_recipes() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(RECIPES)
