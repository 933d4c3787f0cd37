"""The log of a job, and the polite end of one that was told to stop."""

import logging
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from isthmus.core.errors import Interrupted, UserError


@contextmanager
def job_log(path: Path | str) -> Iterator[None]:
    """Send `logging` to the file `path` while the block runs, and errors there and to standard error.

    A `UserError` is shown as its message alone and ends the process with status 1; `Interrupted` ends it with
    128 + the signal's number. Anything else is logged with its traceback and raised on.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=path, level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    try:
        yield
    except UserError as error:
        logging.error("%s", error)
        sys.exit(f"{type(error).__name__}: {error}")
    except Interrupted as interrupted:
        logging.warning("%s", interrupted)
        print(interrupted, file=sys.stderr)
        sys.exit(128 + interrupted.signal_number)
    except Exception:
        logging.error("%s", traceback.format_exc())
        raise
    finally:
        logging.shutdown()


class StopRequest:
    """Notes SIGTERM and SIGINT instead of dying of them, so that a loop can save first.

    While the context is entered, `signal_number` is None until a signal came and its number from then on.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
