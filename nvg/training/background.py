"""One piece of work at a time, beside what the caller does next."""

import threading
from collections.abc import Callable


class Background:
    """Runs a job in a thread; an error in it is raised by the next call of any method."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, job: Callable[[], None]) -> None:
        """Begin a job when the one before has ended."""
        self.wait()
        # A daemon, so that a process that is told twice to stop does.
        self._thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise the error of a job that has ended; does not wait."""
        if self._thread and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Wait until no job runs."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._error:
            error, self._error = self._error, None
            raise error

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            self._error = error
