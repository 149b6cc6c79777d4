"""Asks an endpoint one question until it answers, waiting in between as it says or longer each time."""

from __future__ import annotations

import http.client
import sys
import threading
import time
from email.utils import parsedate_to_datetime

from leakbench.models.hosted.endpoint import RAISED, Endpoint, ServedCallable
from leakbench.models.hosted.http import Broken, NotReached, Reply, send
from leakbench.models.hosted.ledger import Ledger
from leakbench.models.hosted.question import Question
from leakbench.models.hosted.wire import WrongReply, build_request, read_reply
from leakbench.runtime.errors import UsageError, to_printable

TRIES = 5
FIRST_WAIT = 1.0  # seconds after the first failure; doubled after each
LONGEST_WAIT = 900.0  # seconds that a service may ask to wait; one that asks for more ends the run
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_SHOWN = 200  # characters of a reply in a message


class ServiceFault(UsageError):
    """The service does not answer, or not with an image."""


class _Failed(Exception):
    """One try failed, and another may not. wait: seconds that the service asked for, or None."""

    def __init__(self, words: str, wait: float | None = None) -> None:
        super().__init__(words)
        self.wait = wait


class Client:
    """Client of an endpoint. `stopped` ends all waiting."""

    def __init__(self, endpoint: Endpoint, ledger: Ledger) -> None:
        self.endpoint, self.ledger, self.stopped = endpoint, ledger, threading.Event()

    def ask(self, question: Question) -> bytes:
        """The bytes of the image that answers. Raises ServiceFault, and BudgetSpent."""
        failure = ""
        for number in range(TRIES):
            try:
                return self._try(question)
            except _Failed as failed:
                failure, wait = str(failed), failed.wait
                if wait is not None and wait > LONGEST_WAIT:
                    raise self._fault(
                        f"{failure}, and asks to be left alone for {wait:.0f} s: run it again then"
                    ) from None
                if number + 1 < TRIES:
                    wait = FIRST_WAIT * 2**number if wait is None else wait
                    if not self.stopped.is_set():
                        said = self._name(f"{failure}; asked again in {wait:.0f} s")
                        print(f"leakbench: {said}", file=sys.stderr)
                    self._wait(wait)
        raise self._fault(f"{failure}; asked {TRIES} times")

    def _try(self, question: Question) -> bytes:
        endpoint, request = self.endpoint, build_request(self.endpoint, question)
        wait = self.ledger.reserve()
        try:
            self._wait(wait)
        except ServiceFault:
            self.ledger.take_back()
            raise
        try:
            reply = send(*request, timeout=endpoint.timeout)
        except NotReached as error:
            self.ledger.take_back()
            raise _Failed(f"cannot be reached ({error})") from None
        except TimeoutError:
            raise _Failed(f"no answer within {endpoint.timeout:g} s") from None
        except Broken as error:
            raise _Failed(f"a broken answer: {error}") from None
        except http.client.HTTPException as error:
            raise _Failed(f"a broken answer: {type(error).__name__}") from None
        except OSError as error:
            raise _Failed(f"a broken connection ({error.strerror or error})") from None
        if reply.status == 429:
            self.ledger.take_back()
        if reply.status in _AGAIN:
            raise _Failed(f"answers status {reply.status}{self._said(reply)}", _read_wait(reply))
        if 300 <= reply.status < 400:
            place = to_printable(endpoint.cut_out(reply.headers.get("location", "nowhere")))[:_SHOWN]
            raise self._fault(f"answers status {reply.status}, to go to {place}: redirects are not followed; give that")
        if reply.status == RAISED and isinstance(self.endpoint, ServedCallable):
            raise self._fault(f"the function failed{self._said(reply)}")
        if reply.status != 200:
            raise self._fault(f"answers status {reply.status}{self._said(reply)}")
        try:
            return read_reply(endpoint, reply)
        except WrongReply as wrong:
            raise self._fault(f"answers {wrong}") from None

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self.stopped.wait(seconds)
        if self.stopped.is_set():
            raise self._fault("is asked no more, after another question failed")

    def _fault(self, words: str) -> ServiceFault:
        return ServiceFault(self._name(words))

    def _name(self, words: str) -> str:
        """Words on the endpoint, after its name and without its secrets."""
        return f"{self.endpoint.name}: {self.endpoint.cut_out(words)}"

    def _said(self, reply: Reply) -> str:
        """The beginning of a reply that is text, in a line; secrets go first, as half of one is not found any more."""
        if reply.kind.startswith("image/") or not reply.data:
            return ""
        text = self.endpoint.cut_out(reply.data.decode("utf-8", "replace"))
        return f" ({to_printable(' '.join(text[: 4 * _SHOWN].split())[:_SHOWN])})"


def _read_wait(reply: Reply) -> float | None:
    """Seconds of Retry-After, which is a number or a date; None without one."""
    given = reply.headers.get("retry-after", "").strip()
    if given.isascii() and given.isdigit() and len(given) < 10:
        return float(given)
    try:
        return max(parsedate_to_datetime(given).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None
