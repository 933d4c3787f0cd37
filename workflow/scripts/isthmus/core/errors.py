"""The errors a user can cause, and the one a stop request causes."""


class UserError(Exception):
    """Something outside the code is wrong. The message says what, where, and what to do."""


class ConfigurationError(UserError):
    """The configuration asks for something impossible; the message names the key."""


class DataError(UserError):
    """A data file is missing, damaged or of the wrong kind; the message names it."""


class Interrupted(Exception):
    """A signal asked the process to stop, and it has saved its state.

    `signal_number` is the signal; a process ended by it exits with 128 + `signal_number` by custom.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}; the state is saved and the next run goes on from it")
        self.signal_number = signal_number
