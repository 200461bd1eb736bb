"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numconv.ops import optimizer
from numconv.ops.optimizer import Places
from numconv.optim._optimizer import Optimizer, kept


class SGD(Optimizer):
    """Stochastic gradient descent, with or without momentum (Sutskever et al. 2013).

    Parameters
    ----------
    params : iterable of Tensor or of dict
        As in `Optimizer`.
    lr, momentum, dampening, weight_decay : float
    nesterov : bool
        Look ahead by the momentum, which must be above 0, with dampening 0.
    maximize : bool
        Climb in place of descend.

    Raises
    ------
    ValueError
        If a rate is below 0 or Nesterov's conditions are not met.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**options, "nesterov": nesterov, "maximize": maximize})

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ValueError(
                f"nesterov needs momentum above 0 and dampening 0, got {options['momentum']} and {options['dampening']}"
            )

    def _update(
        self, params: list[Any], grads: list[Any], states: list[dict[str, Any]], options: dict[str, Any], places: Places
    ) -> None:
        momentum, dampening = options["momentum"], options["dampening"]
        buffers = None
        if momentum:
            dampening = dampening if "momentum_buffer" in states[0] else 0
            buffers = kept(states, "momentum_buffer", params)
        optimizer.sgd(
            params, grads, buffers, places, lr=options["lr"], momentum=momentum, dampening=dampening,
            weight_decay=options["weight_decay"], nesterov=options["nesterov"], maximize=options["maximize"],
        )  # fmt: skip
