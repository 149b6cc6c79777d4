"""eps(x_t, t, label) of any network that is known: its family calls it, its parameterisation makes noise of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from leakbench.models.networks import NetworkSpec
from leakbench.models.pretrained.families.family import Family, Told
from leakbench.models.pretrained.families.own import Own
from leakbench.models.pretrained.prediction import Prediction
from leakbench.models.pretrained.text_conditioning import join_told

_RESIDENT = 2**30  # bytes: what all captions are told as lies on the device up to this size, above it on the host


class Denoiser(nn.Module):
    """Gradients flow to the parameters of the network inside, `body`.

    A label of -1 stands for no condition. captions: by name, tensors of K + 1 rows, one for each distinct caption and
    the last for none; `which` (conditions,) says which of them each label is. Without captions a label is a class, and
    -1 the class of none, spec.conditions. texts: the caption of each label. encode: `captions` of other texts.
    """

    which: Tensor | None

    def __init__(
        self,
        body: nn.Module,
        spec: NetworkSpec,
        prediction: Prediction,
        family: Family | None = None,
        captions: dict[str, Tensor] | None = None,
        which: Tensor | None = None,
        texts: tuple[str, ...] = (),
        encode: Callable[[tuple[str, ...]], dict[str, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.body, self.spec, self.prediction, self.family = body, spec, prediction, family or Own()
        self.register_buffer("which", which, persistent=False)
        self.captions = captions or {}
        self._resident = sum(rows.nbytes for rows in self.captions.values()) <= _RESIDENT
        self.texts, self._encode = texts, encode
        self._labels = {text: label for label, text in reversed(list(enumerate(texts)))}

    @property
    def knows_none(self) -> bool:
        """Tell whether a label of -1 has an answer: of captions always, of classes where the family has a class of
        none."""
        return self.which is not None or self.family.knows_none

    def label_edited(self, labels: Sequence[int], edit: Callable[[str], str]) -> list[int]:
        """Labels of what `edit` makes of the captions of these labels: of a caption its first, of another text one
        beyond `spec.conditions`. All captions are edited where one is new, so that the text encoders are read once.
        Raises ValueError where labels are no captions."""
        if self.which is None or self._encode is None:
            raise ValueError("the model is told no captions, so that no text has a label")
        wanted = [edit(self.texts[label]) for label in labels]
        if any(text not in self._labels for text in wanted):
            edited = dict.fromkeys(edit(text) for text in self.texts)
            new = tuple(text for text in edited if text not in self._labels)
            self._add(new, self._encode(new))
        return [self._labels[text] for text in wanted]

    def label_texts(self, texts: Sequence[str]) -> list[int]:
        """Labels of texts: of a caption its first, of another text one beyond `spec.conditions`. Raises ValueError
        where labels are no captions."""
        if self.which is None or self._encode is None:
            raise ValueError("the model is told no captions, so that no text has a label")
        if new := tuple(dict.fromkeys(text for text in texts if text not in self._labels)):
            self._add(new, self._encode(new))
        return [self._labels[text] for text in texts]

    def _add(self, texts: tuple[str, ...], told: dict[str, Tensor]) -> None:
        assert self.which is not None
        last, first = len(next(iter(self.captions.values()))) - 1, len(self.which)
        for name, rows in self.captions.items():
            self.captions[name] = join_told(rows, told[name].to(rows))
        self.which = torch.cat([self.which, torch.arange(last, last + len(texts)).to(self.which)])
        self._labels |= {text: first + number for number, text in enumerate(texts)}
        self._resident = sum(rows.nbytes for rows in self.captions.values()) <= _RESIDENT

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return self.answer(x, t, self.tell(label))

    def answer(self, x: Tensor, t: Tensor, told: Told) -> Tensor:
        """eps (N, C, H, W) where the network is told this, N rows of it."""

        def ask(scaled: Tensor, time: Tensor) -> Tensor:
            found = self.family.ask(self.body, scaled, time, told)
            answer: Tensor = found if isinstance(found, Tensor) else found[0]
            return answer.float()

        return self.prediction.eps(ask, x, t)

    def tell(self, label: Tensor | None) -> Told:
        """What the network is told of labels (N,), on their device."""
        if not self.spec.conditions:
            return {}
        assert label is not None
        if self.which is None:
            return {"label": torch.where(label < 0, self.spec.conditions, label)}
        if self._resident:
            self.captions = {name: rows.to(label.device) for name, rows in self.captions.items()}
        last = len(next(iter(self.captions.values()))) - 1
        row = torch.where(label < 0, last, self.which[label])
        return {name: rows[row.to(rows.device)].to(label.device) for name, rows in self.captions.items()}
