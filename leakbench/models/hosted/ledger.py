"""Calls and money that an endpoint has cost, its rate and its budget, for all processes and all runs.

One file beside the kept answers, changed under a lock before a request is sent: a process that is killed in the middle
of one has counted it. A request that was refused for its rate (429), or had no connection, is taken back.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from leakbench.models.hosted.endpoint import Endpoint
from leakbench.runtime.cache.locks import exclusive
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically

_AHEAD = 16  # requests that may have their moment in the future; a clock that was set back waits no longer

GO_ON = "what was answered is kept: raise it, and run the same command to go on"


class BudgetSpent(UsageError):
    """The endpoint's most_calls or most_money is reached."""


@dataclass
class Spent:
    """calls: requests sent. money: their price. next: the moment of the next request, in seconds since 1970."""

    calls: int = 0
    money: float = 0.0
    next: float = 0.0


class Ledger:
    """What an endpoint has cost."""

    def __init__(self, endpoint: Endpoint, folder: Path) -> None:
        self.endpoint, self._file = endpoint, folder / "ledger.json"
        self._lock, self._threads = folder / "ledger.lock", threading.Lock()

    def read(self) -> Spent:
        """All that was spent so far."""
        try:
            return Spent(**json.loads(self._file.read_text()))
        except FileNotFoundError:
            return Spent()
        except (ValueError, TypeError):
            raise UsageError(
                f"{self._file}: damaged: it counts calls and money; delete it to begin at nothing"
            ) from None

    def reserve(self) -> float:
        """Count one request, and answer in how many seconds it may be sent. Raises BudgetSpent."""
        endpoint = self.endpoint
        with self._threads, exclusive(self._lock, f"counts calls of {endpoint.name}"):
            spent, now = self.read(), time.time()
            if endpoint.most_calls is not None and spent.calls >= endpoint.most_calls:
                raise BudgetSpent(f"{endpoint.name}: most_calls = {endpoint.most_calls} are spent; {GO_ON}")
            money = round(spent.money + endpoint.price, 9)
            if endpoint.most_money is not None and money > endpoint.most_money:
                raise BudgetSpent(
                    f"{endpoint.name}: of most_money = {endpoint.most_money:g}, {spent.money:g} are spent, and a call "
                    f"costs {endpoint.price:g}; {GO_ON}"
                )
            interval = 60 / endpoint.calls_per_minute if endpoint.calls_per_minute else 0.0
            moment = min(max(now, spent.next), now + _AHEAD * interval)
            self._write(Spent(spent.calls + 1, money, moment + interval))
        return moment - now

    def take_back(self) -> None:
        """Uncount a request that was refused, or not sent."""
        with self._threads, exclusive(self._lock, f"counts calls of {self.endpoint.name}"):
            spent = self.read()
            money = round(max(spent.money - self.endpoint.price, 0), 9)
            self._write(Spent(max(spent.calls - 1, 0), money, spent.next))

    def _write(self, spent: Spent) -> None:
        write_atomically(self._file, json.dumps(asdict(spent)).encode(), durable=False)
