"""The values of one device, sorted, and encoded before anybody asks. Pure.

A value stands still, or follows a clock: then it is a function of the time. Only those are encoded at each request.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping

from lab.snmp import ber
from lab.snmp.values import COUNTER64, END, Value

Moving = Callable[[float], Value]
"""Returns the value at a time, in seconds of the lab's clock."""


def varbind(oid: bytes, value: Value) -> bytes:
    """Return an encoded pair of OID and value."""
    return ber.tlv(ber.SEQUENCE, ber.tlv(ber.OID, oid) + value.element())


class Mib:
    """Values by encoded OID, in the order of a walk."""

    def __init__(self, values: Mapping[bytes, Value | Moving] | None = None) -> None:
        self._load(values or {})

    def _load(self, values: Mapping[bytes, Value | Moving]) -> None:
        self._oids = sorted(values, key=ber.key_untrusted)
        self._keys = [ber.key_untrusted(oid) for oid in self._oids]
        self._values: list[Value | Moving] = [values[oid] for oid in self._oids]
        self._binds = [b"" if callable(v) else varbind(oid, v) for oid, v in zip(self._oids, self._values, strict=True)]
        self._number()

    def __len__(self) -> int:
        return len(self._oids)

    def __contains__(self, oid: bytes) -> bool:
        return oid in self._at

    def put(self, oid: bytes, value: Value | Moving) -> None:
        """Set a value, new or not."""
        i = self._at.get(oid)
        if i is None:
            key = ber.key_untrusted(oid)
            i = bisect_left(self._keys, key)
            self._keys.insert(i, key)
            self._oids.insert(i, oid)
            self._values.insert(i, value)
            self._binds.insert(i, b"")
            self._number()
        self._values[i] = value
        self._binds[i] = b"" if callable(value) else varbind(oid, value)

    def drop(self, oids: Iterable[bytes]) -> None:
        """Take values out; those that are not there are no error."""
        gone = set(oids) & self._at.keys()
        self._load({oid: v for oid, v in zip(self._oids, self._values, strict=True) if oid not in gone})

    def _number(self) -> None:
        self._at = {oid: i for i, oid in enumerate(self._oids)}

    def raw(self, oid: bytes) -> Value | Moving | None:
        """Return a value, or the function that it follows; None: there is none."""
        i = self._at.get(oid)
        return None if i is None else self._values[i]

    def value(self, oid: bytes, now: float) -> Value | None:
        """Return the value at a time; None: there is none."""
        i = self._at.get(oid)
        return None if i is None else self._value(i, now)

    def below(self, root: bytes) -> Iterator[bytes]:
        """Yield the OIDs below another one, in order."""
        for i in range(bisect_left(self._keys, ber.key_untrusted(root)), len(self._oids)):
            if not self._oids[i].startswith(root):
                return
            yield self._oids[i]

    def has_object(self, oid: bytes) -> bool:
        """Tell whether another instance of the same column is there: then this one is only a missing instance."""
        key = ber.key_untrusted(oid)
        i = bisect_left(self._keys, key)
        near = self._keys[max(0, i - 1) : i + 1]
        return any(key[:-4] and other.startswith(key[:-4]) for other in near)

    def _value(self, i: int, now: float) -> Value:
        value = self._values[i]
        return value(now) if callable(value) else value

    def _bind(self, i: int, now: float) -> bytes:
        return self._binds[i] or varbind(self._oids[i], self._value(i, now))

    def after(self, oid: bytes) -> int:
        """Return the position of the first value behind an OID; `len` of it all: there is none.

        Raises:
            MalformedSnmpError: it is no OID.
        """
        i = self._at.get(oid)
        return bisect_right(self._keys, ber.key_untrusted(oid)) if i is None else i + 1

    def next_bind(self, oid: bytes, now: float, *, narrow: bool = False) -> bytes | None:
        """Return the varbind behind an OID; None at the end.

        Args:
            oid: encoded.
            now: the time.
            narrow: leave out Counter64, which SNMPv1 does not have (RFC 3584 section 4.2.2.1).

        Raises:
            MalformedSnmpError: it is no OID.
        """
        i = self.after(oid)
        while narrow and i < len(self._oids) and self._value(i, now).tag == COUNTER64:
            i += 1
        return self._bind(i, now) if i < len(self._oids) else None

    def run(self, oid: bytes, count: int, now: float, turn_back: int = 0) -> list[bytes]:
        """Return the varbinds behind an OID: `count` of them, those beyond the end as endOfMibView.

        Args:
            oid: encoded.
            count: 0 and up.
            now: the time.
            turn_back: a fault: behind so many values the first of them comes again; 0: never.

        Raises:
            MalformedSnmpError: it is no OID.
        """
        start = self.after(oid)
        if turn_back:
            wanted: Iterable[int] = (
                start - start % turn_back + (start + n) % turn_back for n in range(count)
            )  # stays within one stretch
            found = [self._bind(i, now) for i in wanted if i < len(self._oids)]
        else:
            found = self._binds[start : start + count]
            if b"" in found:
                found = [bind or self._bind(start + n, now) for n, bind in enumerate(found)]
        if len(found) < count:
            last = self._oids[-1] if found else oid
            found += [varbind(last, END)] * (count - len(found))
        return found
