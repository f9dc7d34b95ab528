"""`python -m trust verify FILE`: check a proof file or an export offline, with PyNaCl alone.

Exit codes: 0 everything holds under a key that you gave; 1 something does not hold, or no key was given; 2 usage, or a
file that cannot be read; 3 all that could be judged holds, and the file does not show that nothing is missing from it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from trust.errors import MalformedError
from trust.proof import verify_file_untrusted
from trust.terminal import neutralize


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m trust", description="Verify audit evidence offline.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("verify", help="check a proof file or an export")
    command.add_argument("file", type=Path)
    command.add_argument("--vkey", help="the log's verifier key, as you know it from elsewhere")
    command.add_argument("--words", help="words or digest of a trust head, as you know them from elsewhere")
    args = parser.parse_args(argv)
    try:
        report = verify_file_untrusted(args.file.read_bytes(), args.vkey, args.words)
    except (OSError, MalformedError) as err:
        print(f"cannot read {args.file}: {neutralize(str(err))}", file=sys.stderr)
        return 2
    for line in report.lines:
        fault = "" if line.fault is None else f"{line.fault.value}: "
        print(f"{'open' if line.part else 'ok' if line.ok else 'FAIL':<6}{fault}{neutralize(line.text)}")
    if report.ok and not report.whole:
        print("VERIFIED IN PART: the file does not show that nothing is missing from it")
        return 3
    if report.ok:
        print("VERIFIED")
        return 0
    failed = sum(1 for line in report.lines if not line.ok)
    codes = ", ".join(fault.value for fault in report.faults)
    print(f"NOT VERIFIED: {failed} checks failed: {codes}" if failed else "NOT VERIFIED: no key of yours was given")
    return 1


if __name__ == "__main__":
    sys.exit(main())
