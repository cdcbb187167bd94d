"""Certificates that are no longer good before they expire: a file that is read at each hello."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hierfl.errors import LinkError

FILE = "revoked"
"""The name of the file in the folder of the certificates."""

_SERIAL = re.compile(r"[0-9a-f]{2}(?::?[0-9a-f]{2})+")


@dataclass(frozen=True)
class RevocationList:
    """Names of nodes and serial numbers of certificates, one a line; `#` begins a comment.

    A serial number is written in hexadecimal, with or without colons, as OpenSSL prints it. A name
    revokes whatever certificate its node shows, a serial number that one certificate.

    Args:
        file: where they are.
        required: whether the file must be there.
    """

    file: Path
    required: bool

    def holds(self, name: str, serial: int | None) -> bool:
        """Return whether a peer is revoked.

        Args:
            name: the name that it is certified for, or says it has.
            serial: its certificate's serial number; None: it has no certificate.

        Raises:
            LinkError: if the file cannot be read: nobody can be let in then.
        """
        for entry in self._entries():
            if entry == name:
                return True
            plain = entry.lower().removeprefix("0x")
            if _SERIAL.fullmatch(plain) and int(plain.replace(":", ""), 16) == serial:
                return True
        return False

    def _entries(self) -> list[str]:
        try:
            text = self.file.read_text(encoding="utf-8")
        except FileNotFoundError:
            if not self.required:
                return []
            raise LinkError(f"{self.file}, the list of revoked certificates, is gone") from None
        except (OSError, UnicodeError) as error:
            said = getattr(error, "strerror", None) or "is not UTF-8 text"
            raise LinkError(f"{self.file}, the list of revoked certificates: {said}") from None
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        return [line for line in lines if line]


def append(file: Path, serial: int, name: str) -> None:
    """Add a certificate to a list.

    Raises:
        OSError: if that fails.
    """
    with file.open("a", encoding="utf-8") as stream:
        stream.write(f"{serial_text(serial)}  # {name}\n")


def serial_text(serial: int) -> str:
    """Return a serial number as OpenSSL prints it.

    >>> serial_text(0xabc)
    '0ABC'
    """
    text = f"{serial:X}"
    return text if len(text) % 2 == 0 else f"0{text}"
