"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numconv.ops import optimizer
from numconv.optim._optimizer import Optimizer


class RMSprop(Optimizer):
    """The gradient divided by the root of its running mean square (Hinton 2012, lecture 6e).

    Parameters
    ----------
    params : iterable of Tensor or of dict
        As in `Optimizer`.
    lr : float
    alpha : float
        How much of the mean square is kept each step.
    eps : float
        Added to the denominator.
    weight_decay, momentum : float
    centered : bool
        Divide by the running standard deviation (Graves 2013).
    maximize : bool
        Climb in place of descend.

    Raises
    ------
    ValueError
        If a rate is below 0.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, {**options, "centered": centered, "maximize": maximize})

    def _update(self, param: Any, grad: Any, state: dict[str, Any], options: dict[str, Any]) -> None:
        needed = {"square_avg": True, "grad_avg": options["centered"], "momentum_buffer": options["momentum"] != 0}
        for name, wanted in needed.items():
            if wanted and name not in state:
                state[name] = optimizer.state_like(param)
        state["step"] = state.get("step", 0) + 1
        optimizer.rmsprop(
            param, grad, state["square_avg"], state.get("grad_avg") if options["centered"] else None,
            state.get("momentum_buffer"), lr=options["lr"], alpha=options["alpha"], eps=options["eps"],
            weight_decay=options["weight_decay"], momentum=options["momentum"], maximize=options["maximize"],
        )  # fmt: skip
