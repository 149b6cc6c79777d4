"""A hosted model as a release asks it: many questions at one time, each answered from disk or by the client.

Choices of ours: four requests are under way at one time; after a question that failed, nothing more is asked, and
whoever asks again in this process is told the same, so that a service which is down is not waited for by each attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from leakbench.data.answered_image import WrongImage, read_image
from leakbench.models.hosted.answers import KeptAnswers
from leakbench.models.hosted.client import Client, ServiceFault
from leakbench.models.hosted.endpoint import Endpoint
from leakbench.models.hosted.ledger import Ledger, Spent
from leakbench.models.hosted.question import Question
from leakbench.runtime.errors import UsageError

_TOGETHER = 4


class Service:
    """The service at an endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.answers = endpoint, KeptAnswers(endpoint.key)
        self.ledger = Ledger(endpoint, self.answers.folder)
        self._fault: UsageError | None = None

    @property
    def spent(self) -> Spent:
        """Calls and money that it has cost so far."""
        return self.ledger.read()

    def ask(self, questions: Sequence[Question], shape: tuple[int, int, int]) -> np.ndarray:
        """Answers, levels uint8 (N, H, W, C) for a shape (C, H, W). Equal questions are asked once.

        Raises UsageError.
        """
        keys = [question.key for question in questions]
        kept = ((key, self.answers.get(key, shape)) for key in dict.fromkeys(keys))
        known = {key: one for key, one in kept if one is not None}
        missing = {key: one for key, one in zip(keys, questions, strict=True) if key not in known}
        if missing:
            known |= self._ask_client(missing, shape)
        return np.stack([known[key] for key in keys])

    def _ask_client(self, missing: dict[str, Question], shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
        """Answers by key. All that were under way when one failed are kept before its error is raised."""
        if self._fault is not None:
            raise self._fault
        self.answers.prepare()
        client = Client(self.endpoint, self.ledger)

        def ask(key: str) -> np.ndarray:
            try:
                levels = read_image(client.ask(missing[key]), shape)
            except WrongImage as wrong:
                raise ServiceFault(f"{self.endpoint.name}: answers {wrong}") from None
            self.answers.put(key, levels)
            return levels

        with ThreadPoolExecutor(_TOGETHER) as pool:
            futures = {key: pool.submit(ask, key) for key in missing}
            try:
                return {key: future.result() for key, future in futures.items()}
            except UsageError as error:
                self._fault = error
                raise
            finally:
                client.stopped.set()
                pool.shutdown(cancel_futures=True)
