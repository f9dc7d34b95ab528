"""`python -m lab script` as a person runs it."""

from __future__ import annotations

from lab.__main__ import main


def test_a_listing_and_a_refusal(tmp_path, capfdbinary):
    file = tmp_path / "a.rsc"
    file.write_bytes(b':put "\\FF$x"\n')
    assert main(["script", str(file)]) == 0
    assert capfdbinary.readouterr() == (b"(evl /putmessage=(. \xff $x))\n", b"")
    file.write_bytes(b"\n:put (1 + )\n")
    assert main(["script", str(file)]) == 1
    assert capfdbinary.readouterr() == (b"", b"lab: syntax error (line 2 column 8)\n")
    assert main(["script", str(tmp_path / "none.rsc")]) == 1
