"""A console that people can read, as a logger plugin of Snakemake: `snakemake --logger isthmus`, which `make` adds.

A line for every job that has ended: when, how long, what. Below, on a terminal, the jobs that run and a bar with the
share of the work that is done and the time left; in a file, a line with both from time to time. A failure shows the end
of the job's log and where the log is. Warnings and errors of Snakemake are always shown. Snakemake imports this package
whenever it starts, in every job too, so it imports nothing that takes time, and nothing of the library.
"""

from logging import LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase


class LogHandler(LogHandlerBase):
    """Hands Snakemake's records to the console."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        from snakemake_logger_plugin_isthmus.console import Console

        self.console = Console(self.common_settings)

    def emit(self, record: LogRecord) -> None:
        """Show a record. An error in doing so is reported and leaves the run alone."""
        try:
            self.console.take(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """The last lines: what became of the run."""
        self.console.close()
        super().close()
