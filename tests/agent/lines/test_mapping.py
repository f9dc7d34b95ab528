"""The operator's mapping file, as people and spreadsheets write it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.lines import mapping
from agent.lines.mapping import COLUMNS, MappedPart, MappingFile, read_map_untrusted


def test_columns_in_any_order_with_others_between() -> None:
    text = "\ufeffDevice;;,note,PART,Service\n"
    assert "expected the columns" in read_map_untrusted(text.encode(), "m.csv").problems[0]
    good = "\ufeffDevice,note,PART,Service\r\nolt-1,x,0/1/3,C-1/home\r\n\r\nolt-1,y,0/1/4,C-1/home\r\n"
    found = read_map_untrusted(good.encode(), "m.csv")
    assert found.problems == ()
    assert found.parts == {"C-1/home": (MappedPart("olt-1", "0/1/3", 2), MappedPart("olt-1", "0/1/4", 4))}


def test_a_line_with_a_mistake_is_named_and_the_others_count() -> None:
    found = read_map_untrusted(b"service,device,part\nC-1,olt-1\nC-2,olt-1,p\nC-2,olt-1,p\n", "m.csv")
    assert found.problems == ("m.csv: line 2: expected service, device and part, one is empty",)
    assert found.parts == {"C-2": (MappedPart("olt-1", "p", 3),)}


def test_a_mac_address_needs_no_device() -> None:
    found = read_map_untrusted(b"service,device,part\nC-1,,02-00-00-00-00-01\nC-2,,ge-7\n", "m.csv")
    assert found.problems == ("m.csv: line 3: expected service, device and part, one is empty",)
    assert found.parts == {"C-1": (MappedPart("", "02-00-00-00-00-01", 2),)}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "expected the columns"),
        (b"service,device,service\n", "expected the columns"),
        (b"service,device,part\n\xff", "expected UTF-8, got byte 0xff"),
        (b'service,device,part\na,b,"' + b"x" * 200_000, "expected CSV"),
        (b"x" * (mapping.MAX_BYTES + 1), "bytes"),
        (b"service,device,part\n" + b"a,,\n" * 50, "and 30 more lines"),
    ],
)
def test_a_file_that_is_none_says_why(data: bytes, told: str) -> None:
    found = read_map_untrusted(data, "m.csv")
    assert told in found.problems[-1]
    assert not found.parts


def test_more_lines_than_the_bound_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "MAX_ROWS", 3)
    found = read_map_untrusted(b"service,device,part\na,b,c\nd,e,f\ng,h,i\n", "m.csv")
    assert list(found.parts) == ["a", "d"]
    assert "the rest was not read" in found.problems[0]


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "lines.csv"
    file = MappingFile(path)
    assert "cannot be read" in file.current().problems[0]
    path.write_text(f"{','.join(COLUMNS)}\nC-1,olt,p\n")
    assert list(file.current().parts) == ["C-1"]
    assert file.current() is file.current()
    path.write_text(f"{','.join(COLUMNS)}\nC-1,olt,p\nC-2,olt,q\n")
    os.utime(path, ns=(1, 1))
    assert list(file.current().parts) == ["C-1", "C-2"]
    path.unlink()
    left = file.current()
    assert list(left.parts) == ["C-1", "C-2"], "a file that is being replaced takes nobody's line away"
    assert "what was read of it before counts" in left.problems[0]
    assert MappingFile(None).current().parts == {}
