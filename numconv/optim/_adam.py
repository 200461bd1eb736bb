"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numconv.ops import optimizer
from numconv.ops.optimizer import Places
from numconv.optim._optimizer import Optimizer, counted, kept


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015).

    Parameters
    ----------
    params : iterable of Tensor or of dict
        As in `Optimizer`.
    lr : float
    betas : pair of float
        How much of the running mean of the gradient, and of its square, is kept each step.
    eps : float
        Added to the denominator.
    weight_decay : float
        Times the parameter, added to the gradient.
    amsgrad : bool
        Divide by the largest mean square so far (Reddi, Kale and Kumar 2018).
    maximize : bool
        Climb in place of descend.

    Raises
    ------
    ValueError
        If a rate is below 0, or a beta not from 0 to below 1.
    """

    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "amsgrad": amsgrad, "maximize": maximize})

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        if len(options["betas"]) != 2 or not all(0 <= beta < 1 for beta in options["betas"]):
            raise ValueError(f"betas must be two numbers from 0 to below 1, got {options['betas']}")

    def _update(
        self, params: list[Any], grads: list[Any], states: list[dict[str, Any]], options: dict[str, Any], places: Places
    ) -> None:
        means, squares = (kept(states, name, params) for name in ("exp_avg", "exp_avg_sq"))
        largest = kept(states, "max_exp_avg_sq", params) if options["amsgrad"] else None
        beta1, beta2 = options["betas"]
        optimizer.adam(
            params, grads, means, squares, largest, places,
            step=counted(states), lr=options["lr"], beta1=beta1, beta2=beta2, eps=options["eps"],
            weight_decay=options["weight_decay"], decoupled=self._decoupled, maximize=options["maximize"],
        )  # fmt: skip


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves (Loshchilov and Hutter 2019); arguments as there."""

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
