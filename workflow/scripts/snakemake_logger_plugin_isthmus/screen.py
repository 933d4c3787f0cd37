"""Lines that stay and, on a terminal, a few below them that are drawn again and again."""

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

CLEAR = "\x1b[J"  # everything from the cursor to the end of the screen
COLOURS = {"red": "\x1b[31m", "yellow": "\x1b[33m"}
PLAIN = "\x1b[0m"
COLUMNS = 160  # that lines in a file are cut to, except errors


class Screen:
    """Writes lines to a stream, and below them, if it is a terminal, others that are replaced whenever they change.

    Between `capture` and `release`, whatever this process and its jobs write to the terminal themselves goes through a
    file, so that it appears above the drawn lines and not within them.
    """

    def __init__(self, stream: TextIO, coloured: bool = True) -> None:
        self.terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._coloured = coloured and self.terminal and "NO_COLOR" not in os.environ
        self._stream = stream
        self._drawn: list[str] = []
        self._captured: dict[int, int] = {}  # file descriptors, and copies that still lead to the terminal

    @property
    def width(self) -> int:
        """How long a line may be."""
        if not self.terminal:
            return COLUMNS
        with suppress(OSError):  # not every terminal knows
            if columns := os.get_terminal_size(self._stream.fileno()).columns:
                return columns - 1
        return 79

    def say(self, text: str, colour: str = "") -> None:
        """Write lines that stay."""
        shown = f"{COLOURS[colour]}{text}{PLAIN}" if self._coloured and colour else text
        self._write((CLEAR if self._drawn else "") + shown + "\n" + self._below())

    def draw(self, lines: Sequence[str]) -> None:
        """Replace the lines below the others, on a terminal."""
        if self.terminal and (lines or self._drawn):
            self._drawn = [line[: self.width] for line in lines]
            self._write(CLEAR + self._below())

    def capture(self) -> None:
        """Send to a file what is written to the terminal other than here."""
        if not self.terminal or self._captured or self._stream not in (sys.stdout, sys.stderr):
            return
        self._stream = os.fdopen(os.dup(self._stream.fileno()), "w", encoding="utf-8", errors="backslashreplace")
        (self._file, name), self._read = tempfile.mkstemp(), 0
        Path(name).unlink()
        for number in (1, 2):
            if os.isatty(number):
                self._captured[number] = os.dup(number)
                os.dup2(self._file, number)

    def pass_on(self) -> None:
        """Write what others have written since the last time."""
        if self._captured and (new := os.pread(self._file, 1_000_000, self._read)):
            self._read += len(new)
            self.say(new.decode(errors="backslashreplace").rstrip("\n"))

    def release(self) -> None:
        """Clear the drawn lines, and give the terminal back."""
        self.draw(())
        self.pass_on()
        while self._captured:
            number, copy = self._captured.popitem()
            os.dup2(copy, number)
            os.close(copy)

    def _below(self) -> str:
        """What draws the lines and returns to the beginning of the first."""
        up = len(self._drawn) - 1
        return "\n".join(self._drawn) + ("\r" if self._drawn else "") + (f"\x1b[{up}A" if up > 0 else "")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
