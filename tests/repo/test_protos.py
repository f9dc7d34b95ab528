"""The generated code is what the committed .proto files give, and nothing that leaves can hold a name."""

from __future__ import annotations

import filecmp
import subprocess
import sys
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

from protos import agent_pb2, desk_pb2, enrolment_pb2, message_pb2
from tests.repo import tree

FILES: tuple[FileDescriptor, ...] = tuple(m.DESCRIPTOR for m in (message_pb2, agent_pb2, desk_pb2, enrolment_pb2))


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    sources = sorted(p.relative_to(tree.ROOT).as_posix() for p in (tree.ROOT / "protos").glob("*.proto"))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "--proto_path=.",
            f"--python_out={tmp_path}",
            f"--pyi_out={tmp_path}",
            f"--grpc_python_out={tmp_path}",
            *sources,
        ],
        cwd=tree.ROOT,
        check=True,
    )
    made = sorted(p.name for p in (tmp_path / "protos").iterdir())
    there = sorted(p.name for p in (tree.ROOT / "protos").glob("*_pb2*"))
    assert made == there, "make protos"
    _, differ, missing = filecmp.cmpfiles(tmp_path / "protos", tree.ROOT / "protos", made, shallow=False)
    assert differ + missing == [], "make protos"


def messages() -> list[Descriptor]:
    """Return every message that can travel."""
    found = [m for file in FILES for m in file.message_types_by_name.values()]
    return found + [n for m in found for n in m.nested_types]


def test_no_field_holds_free_text() -> None:
    """Enums, integers, fixed-length bytes, and bodies that are signed or sealed. R4, C10."""
    allowed = {
        FieldDescriptor.TYPE_BYTES,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_ENUM,
        FieldDescriptor.TYPE_MESSAGE,
    }
    assert [f.full_name for m in messages() for f in m.fields if f.type not in allowed] == []


def test_every_enum_begins_with_unspecified() -> None:
    """A field that an older program leaves out must not mean something."""
    enums = [e for file in FILES for e in file.enum_types_by_name.values()]
    assert enums
    assert [e.name for e in enums if not e.values_by_number[0].name.endswith("_UNSPECIFIED")] == []
