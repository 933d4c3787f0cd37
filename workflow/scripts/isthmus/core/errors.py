"""Errors that a user can cause, and the exception raised on a request to stop."""


class UserError(Exception):
    """Something outside the code is wrong. The message says what is wrong, where, and what to do."""


class ConfigurationError(UserError):
    """The configuration asks for something impossible; the message names the key."""


class DataError(UserError):
    """A data file is missing, damaged or of the wrong kind; the message names it."""


class Interrupted(Exception):
    """A signal asked the process to stop, and the process has saved its state.

    `signal_number` is the signal. By convention the process then exits with 128 + `signal_number`.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}; the state is saved, and the next run continues from it")
        self.signal_number = signal_number
