"""The data models: read from text, and true to the Broadband Forum's."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from lab.cpe.errors import CpeModelError
from lab.cpe.model import Leaf, Node, leaf_of, read_model
from lab.cpe.tr098 import tr098
from lab.cpe.tr181 import tr181
from lab.cpe.tree import Tree
from lab.tests.cpe.data import recorded

FILES = {"098": (tr098, "tr-098-1-7-0-full.xml"), "181": (tr181, "tr-181-2-12-0-cwmp-full.xml")}


def ours(path: str, node: Node, found: dict):
    for name, leaf in node.leaves.items():
        found[path + name] = leaf
    for name, child in node.children.items():
        below = f"{path}{name}.{'{i}.' if child.table else ''}"
        found[below] = child
        ours(below, child, found)
    return found


def theirs(file: str) -> dict:
    found = {}
    model = [e for e in ET.parse(recorded(f"datamodel/{file}")).getroot() if e.tag.endswith("model")][-1]
    for element in model:
        if not element.tag.endswith("object"):
            continue
        found[element.get("name")] = element.attrib
        for parameter in element:
            if parameter.tag.endswith("parameter"):
                syntax = next((e for e in parameter if e.tag.endswith("syntax")), None)
                kinds = [e.tag.rpartition("}")[2] for e in syntax if not e.tag.endswith("default")]
                hidden = syntax.get("hidden") == "true"
                values = {e.get("value") for e in syntax.iter() if e.tag.endswith("enumeration")}
                found[element.get("name") + parameter.get("name").strip()] = (
                    parameter.attrib,
                    kinds[0],
                    hidden,
                    values,
                )
    return found


@pytest.mark.parametrize("root", FILES)
def test_the_models_are_the_forums(root):
    make, file = FILES[root]
    model, forum = make(), theirs(file)
    wrong = []
    for name, mine in ours(model.prefix, model.root, {}).items():
        if "X_" in name:
            continue
        if name not in forum:
            wrong.append((name, "is not there"))
        elif isinstance(mine, Node):
            # a table's access: whether the ACS may add. TR-098 lets it add LAN devices, and no lab's CPE does
            if mine.writable and forum[name]["access"] != "readWrite":
                wrong.append((name, "cannot be added"))
        else:
            wrong += [(name, what) for what in differences(mine, *forum[name])]
    assert wrong == []


def differences(mine: Leaf, attributes, kind: str, hidden: bool, values: set[str]) -> list[str]:
    notify, found = attributes.get("activeNotify"), []
    pairs = {
        "access": (mine.writable, attributes["access"] == "readWrite"),
        "hidden": (mine.secret, hidden),
        "canDeny": ("volatile" in mine.words, notify == "canDeny"),
        "forceEnabled": ("told" in mine.words, notify == "forceEnabled"),
        "forceDefaultEnabled": ("told-first" in mine.words, notify == "forceDefaultEnabled"),
        "type": (mine.xsd, mine.xsd if kind == "dataType" else {"list": "string"}.get(kind, kind)),
    }
    found += [f"{what}: {ours} for {forums}" for what, (ours, forums) in pairs.items() if ours != forums]
    if mine.choices and values and not set(mine.choices) <= values:
        found.append(f"values {set(mine.choices) - values}")
    return found


def test_every_inform_carries_what_the_forum_forces():
    for make, file in FILES.values():
        forced = {
            name.replace("{i}", "1")
            for name, found in theirs(file).items()
            if isinstance(found, tuple) and found[0].get("forcedInform") == "true"
        }
        wan = {name for name in forced if "ExternalIPAddress" in name and "WANPPP" not in name}
        assert set(make().informed) == forced - wan


def test_every_default_can_be_had_and_values_fit_their_types():
    for make, _ in FILES.values():
        tree = Tree(make(), {}, lambda: 0.0)
        for name, kind, value in tree.show(""):
            if kind == "boolean":
                assert value in ("0", "1"), name
            if kind in ("int", "unsignedInt"):
                assert re.fullmatch("-?[0-9]+", value), name
        assert len(tree.parameters()) > 180


BROKEN = {
    "parameter without an object": "Name string\n",
    "no type": "Device.\n Name\n",
    "unknown type": "Device.\n Name text\n",
    "unknown word": "Device.\n Name string often\n",
    "another root": "Device.\nInternetGatewayDevice.\n",
    "nothing": "",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_line_that_cannot_be_read_is_said(what):
    with pytest.raises(CpeModelError):
        read_model(BROKEN[what], {}, {})


def test_values_are_checked_and_names_must_be_there():
    text = "Device.T.{i}. +\n N *unsignedInt[1:5]\n"
    for values in ({"Device.T.1.N": "6"}, {"Device.T.1.M": "1"}, {"Device.X.N": "1"}, {"Gateway.T.1.N": "1"}):
        with pytest.raises(CpeModelError):
            read_model(text, {"Device.T.": (1,)}, values)
    model = read_model(text, {"Device.T.": (1,)}, {"Device.T.1.N": "5"})
    assert leaf_of(model, "Device.T.7.N").high == 5
    assert leaf_of(model, "Device.T.7.N").value == "1"


def test_a_tree_of_nine_thousand_parameters_shares_its_model():
    model = tr181().grown("Device.Hosts.Host.", 1000, {"HostName": "host-{n}", "IPAddress": "10.0.0.1"})
    tree = Tree(model, {}, lambda: 0.0)
    assert len(tree.parameters("Device.Hosts.")) == 8 * 1000 + 1
    assert tree.get("Device.Hosts.Host.777.HostName") == "host-777"
    assert tree.get("Device.Hosts.HostNumberOfEntries") == "1000"
    assert len(tree.show("")) > 8000
