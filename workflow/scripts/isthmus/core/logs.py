"""A job's log, and how a job ends cleanly when it is told to stop."""

import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from isthmus.core.errors import Interrupted, UserError
from isthmus.core.files import unwritable

NO_MEMORY = re.compile("out of memory|not enough memory|can.t allocate memory")  # PyTorch's words
LESS = "see `jobs.stack`, `jobs.evaluation_batch_size`, numbers of images (docs/configuration.md)"


class _LogFile(logging.FileHandler):
    """A log that lacks what does not fit on a full disk; the job ends with a sentence about its results."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def job_log(path: Path | str) -> Iterator[None]:
    """While the block runs, send `logging` to the file `path`, and errors to standard error as well.

    A `UserError` shows its message alone and ends the process with status 1, as a lack of memory does. `Interrupted`
    ends it with 128 + the signal's number. Any other exception is logged with its traceback and raised again.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = _LogFile(path)
    except OSError as error:
        sys.exit(str(unwritable(path, os.strerror(error.errno or 0))))
    logging.basicConfig(handlers=[log], level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    try:
        yield
    except UserError as error:
        logging.error("%s", error)
        sys.exit(f"{type(error).__name__}: {error}")
    except Interrupted as interrupted:
        logging.warning("%s", interrupted)
        print(interrupted, file=sys.stderr)
        sys.exit(128 + interrupted.signal_number)
    except Exception as error:
        logging.error("%s", traceback.format_exc())
        if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
            what = " ".join(str(error).split()) or "there is no memory left"
            sys.exit(f"The job ran out of memory ({what[:300]}). Give it more, or let it compute less at once: {LESS}.")
        raise
    finally:
        logging.shutdown()


class StopRequest:
    """Record SIGTERM and SIGINT instead of dying, so that a loop can save its state first.

    Within the context, `signal_number` is None until a signal arrives, and then that signal's number. A second signal
    raises `Interrupted` wherever the process is. Files stay whole (`isthmus.core.files`).
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._nothing_to_save = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        again, self.signal_number = self.signal_number is not None, number
        if again or self._nothing_to_save:
            raise Interrupted(number)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While the block runs, which has nothing to save, a signal raises `Interrupted` in its middle.

        Raises `Interrupted` at the beginning if a signal came before.
        """
        if self.signal_number is not None:
            raise Interrupted(self.signal_number)
        self._nothing_to_save = True
        try:
            yield
        finally:
            self._nothing_to_save = False

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
