"""The steps of a check, the most telling first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import rates
import training
import whole
from check import Check
from report import Finding


@dataclass(frozen=True)
class Step:
    """A question, who answers it, and how long that may take."""

    name: str
    question: str
    limit: float
    run: Callable[[Check, Finding], None]


STEPS = [
    Step("loading", "Do the programs find libtorch, its libraries and the device?", 30, whole.loading),
    Step("kernels", "Which kernels of libtorch are right and fast on this device?", 60, rates.kernels),
    Step("parity", "Do networks, losses, samplers and extractors agree with the reference numbers?", 60, whole.parity),
    Step("train-bfloat16", "How fast is a training step in bfloat16?", 75, rates.train_bfloat16),
    Step("pytorch-bfloat16", "How fast is PyTorch's, eager and channels-last?", 60, rates.pytorch_bfloat16),
    Step("resume", "Does a training that is killed end as one that is not?", 90, training.resume),
    Step("demo", "Does the demo go from nothing to its picture?", 110, whole.demo),
    Step("one-seed", "Does a seed give the same image on the CPU and on the device?", 40, training.one_seed),
    Step("train-float32", "How fast is a training step in float32 and TF32?", 60, rates.train_float32),
    Step("sampling", "How fast is sampling, beside PyTorch?", 50, rates.sampling),
    Step("memory", "What does a step take of memory, beside the estimate?", 40, training.memory),
    Step("pytorch-float32", "How fast is PyTorch's training step in float32 and TF32?", 50, rates.pytorch_float32),
    Step("features", "How fast are the extractors, beside PyTorch?", 40, rates.features),
    Step("waits", "How often does the host wait for the device in a step?", 40, training.waits),
    Step("cudnn-attention", "Is cuDNN's attention worth it?", 50, rates.cudnn_attention),
    Step("compile", "How fast is `torch.compile`?", 90, rates.pytorch_compile),
    Step("group", "Does a group of one rank train over NCCL?", 30, training.group),
    Step(
        "fast-layout",
        "Are channels-last and fused normalisation right and faster?",
        75,
        rates.fast_path("channels-last", "fused-normalization"),
    ),
    Step("fast-graphs", "Are CUDA graphs of a step right and faster?", 75, rates.fast_path("graphs")),
    Step("fast-adam", "Is fused Adam right and faster?", 60, rates.fast_path("fused-adam")),
    Step("fast-channels-last", "Is channels-last alone right and faster?", 60, rates.fast_path("channels-last")),
    Step(
        "fast-all",
        "Do all fast paths of a step go together?",
        75,
        rates.fast_path("fused-adam", "channels-last", "fused-normalization", "graphs"),
    ),
    Step("fast-copies", "Does a training that copies beside its steps end as one that does not?", 60, training.copies),
]
