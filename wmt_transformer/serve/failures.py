"""What can go wrong with a request: a status and one line, which each interface words in its own JSON."""

from __future__ import annotations


class Refused(Exception):
    """A request that is not answered: the HTTP status, why, and after how many seconds to try again."""

    def __init__(self, status: int, message: str, retry_after: int | None = None):
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


class Busy(Refused):
    """The queue is full."""

    def __init__(self, waiting: int):
        super().__init__(429, f"Slowdown: {waiting} sentences are waiting; try again in a second", 1)


class TooLate(Refused):
    """The deadline passed before the answer was there."""

    def __init__(self, seconds: float):
        super().__init__(504, f"the translation took longer than {seconds:g} s")


class NotReady(Refused):
    """Programs are still being compiled."""

    def __init__(self) -> None:
        super().__init__(503, "the server is warming up; try again in a few seconds", 5)


class Gone(Exception):
    """The client closed its connection: nobody waits for an answer."""
