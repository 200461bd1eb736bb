"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numconv.ops import optimizer
from numconv.ops.optimizer import Places
from numconv.optim._optimizer import Optimizer, counted, kept


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

    def _update(
        self, params: list[Any], grads: list[Any], states: list[dict[str, Any]], options: dict[str, Any], places: Places
    ) -> None:
        counted(states)
        optimizer.rmsprop(
            params, grads, kept(states, "square_avg", params),
            kept(states, "grad_avg", params) if options["centered"] else None,
            kept(states, "momentum_buffer", params) if options["momentum"] else None, places,
            lr=options["lr"], alpha=options["alpha"], eps=options["eps"],
            weight_decay=options["weight_decay"], momentum=options["momentum"], maximize=options["maximize"],
        )  # fmt: skip
