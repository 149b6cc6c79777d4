"""A module of one's own behind a small function: `module:FILE.py:function`.

The function takes nothing and answers (module, description):

    def model():
        return network, {"shape": (3, 32, 32), "prediction": "epsilon", "alpha_bar": [...], "conditions": 0}

`shape` (C, H, W) is what the network denoises, images in [-1, 1]; `prediction` is epsilon, v_prediction, sample
or flow_prediction (default epsilon); `alpha_bar` the table of T numbers in (0, 1), by default DDPM's linear schedule;
`conditions` the number of labels (default 0). The network is called as module(x, t), or module(x, t, label) where it
has labels: x float32 (N, C, H, W), t and label int64 (N,); a flow's t is 1000 s, float32. A plain module with these as
attributes may be answered as well.

It is code, so it runs only where the user trusts it (`trust_code`). What it reads cannot be known, so its answer counts
in every key beside FILE.py: the network's tensors, by name, and what it predicts.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from leakbench.models import networks
from leakbench.models.diffusion import Schedule
from leakbench.models.pretrained.locate import adapter_file
from leakbench.models.pretrained.parameterisations.discrete import Discrete
from leakbench.models.pretrained.parameterisations.flow import Flow
from leakbench.models.pretrained.prediction import Prediction
from leakbench.models.pretrained.schedulers import TARGETS
from leakbench.models.pretrained.spec import PretrainedSpec
from leakbench.runtime.cache.keys import compute_key
from leakbench.runtime.errors import UsageError, in_a_line

_KEYS = ("shape", "prediction", "alpha_bar", "conditions")


@dataclass(frozen=True)
class AdapterModel:
    """Answer of an adapter; `digest` of the network's tensors and of what it predicts."""

    body: nn.Module
    spec: PretrainedSpec
    prediction: Prediction
    digest: str


@lru_cache(maxsize=4)
def load_adapter(path: str, prediction: str | None, trust_code: bool) -> AdapterModel:
    """Run an adapter. Raises UsageError."""
    if not trust_code:
        raise UsageError(f"model {path!r}: an adapter is code: read it, then pass --trust-code (trust_code = true)")
    answer = _run(path)
    body, said = answer if isinstance(answer, tuple) else (answer, {k: getattr(answer, k, None) for k in _KEYS})
    said = {key: value for key, value in said.items() if value is not None}
    if not isinstance(body, nn.Module) or set(said) - set(_KEYS) or len(said.get("shape", ())) != 3:
        raise UsageError(
            f"model {path!r}: it should answer (torch module, a table with `shape` = (C, H, W) and {_KEYS[1:]})"
        )
    target: Any = prediction or said.get("prediction", "epsilon")
    if target not in TARGETS:
        raise UsageError(f"model {path!r}: prediction = {target!r}: it should be one of {', '.join(TARGETS)}")
    table = said.get("alpha_bar")
    schedule = Schedule() if table is None else Schedule.given(np.asarray(table))
    spec = networks.default_spec(tuple(said["shape"]), int(said.get("conditions", 0)))
    digest = compute_key(tensors=_tensors(body), target=target)
    asked = Flow(schedule) if target == "flow_prediction" else Discrete(schedule, target)
    return AdapterModel(body, PretrainedSpec(spec.shape, spec, schedule), asked, digest)


def _tensors(body: nn.Module) -> dict[str, list[str]]:
    """Describe every parameter and buffer, also those that are never saved: type, shape, and sha256 of its bytes."""
    found = {}
    for name, tensor in [*body.named_parameters(), *body.named_buffers()]:
        data: Any = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
        digest = hashlib.sha256(data).hexdigest()
        found[name] = [str(tensor.dtype), str(tuple(tensor.shape)), digest]
    return found


def _run(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("leakbench_adapter", adapter_file(path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return getattr(module, path.split(":")[2])()
    except Exception as error:
        raise UsageError(f"model {path!r}: {in_a_line(error)}") from error
