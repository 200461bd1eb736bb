"""Optimisers with PyTorch's names, arguments and results, and `lr_scheduler`: schedules of their learning rates."""

from numconv.optim import lr_scheduler
from numconv.optim._adam import Adam, AdamW
from numconv.optim._optimizer import Optimizer
from numconv.optim._rmsprop import RMSprop
from numconv.optim._sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
