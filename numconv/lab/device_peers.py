"""The same layers by cuDNN, through PyTorch, on a GPU."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import Any

import numpy as np

from numconv.lab.peers import torch_way
from numconv.lab.timing import Contender


def cudnn_convolution(
    name: str, x: np.ndarray, weight: np.ndarray, options: dict[str, Any], fast: bool
) -> list[Contender]:  # fmt: skip
    """The convolution of a channels-last x; no contender where PyTorch has no GPU."""
    torch = cudnn(fast)
    if torch is None:
        return []
    there, kernel = on_torch(torch, x).movedim(-1, 1), on_torch(torch, weight)
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(kernel.ndim, torch.contiguous_format)
    function = getattr(torch.nn.functional, name)
    call = no_grad(torch, function, there, kernel.to(memory_format=last), **options)
    return [Contender("cuDNN", call, read=first_image)]


def cudnn_pooling(name: str, x: np.ndarray, options: dict[str, Any]) -> list[Contender]:
    """The pooling of a channels-last x."""
    torch = cudnn(fast=False)
    if torch is None:
        return []
    if name == "global_avg_pool":
        function: Any = partial(torch.mean, dim=(2, 3), keepdim=True)
    else:
        function = getattr(torch.nn.functional, name)
    return [
        Contender("cuDNN", no_grad(torch, function, on_torch(torch, x).movedim(-1, 1), **options), read=first_image)
    ]


def cudnn_problem(problem: Any, arrays: dict[str, np.ndarray]) -> list[Contender]:
    """A problem by cuDNN, on copies of the arrays; no contender where PyTorch has no GPU, or not the operation."""
    torch = cudnn(getattr(problem, "precision", "default") == "fast")
    if torch is None:
        return []
    way = torch_way(problem, arrays, "cuDNN", partial(on_torch, torch), lambda result: result.double().cpu().numpy())
    return [] if way is None else [way]


def cudnn(fast: bool) -> Any:
    """PyTorch, set up to use cuDNN at its best, with TF32 or without; None where it has no GPU."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = fast
    return torch


def no_grad(torch: Any, function: Any, *arrays: Any, **options: Any) -> Any:
    """A call without a tape."""

    def call() -> Any:
        with torch.inference_mode():
            return function(*arrays, **options)

    return call


def on_torch(torch: Any, array: np.ndarray) -> Any:
    """A copy on the device; NumPy's bfloat16 goes as its bits."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).cuda().view(torch.bfloat16)
    return torch.from_numpy(array).cuda()


def first_image(result: Any) -> np.ndarray:
    """The first image of PyTorch's."""
    return result[:1].double().cpu().numpy()
