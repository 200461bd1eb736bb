"""Data to train on: pictures with what they show, in batches, augmented, in parts.

Pictures are arrays (N, C, height, width) of float32 from 0 to 1, volumes (N, C, depth, height, width), series
(N, C, length); what they show is an array (N,) of int64. Whatever is random takes a `numpy.random.Generator`.
"""

from numconv.data._augment import Compose, Normalize, RandomCrop, RandomFlip, RandomRotation, RandomShift
from numconv.data._digits import digits
from numconv.data._folder import ImageFolder
from numconv.data._idx import read_idx, read_npz
from numconv.data._loader import DataLoader
from numconv.data._published import fashion_mnist, mnist_5000
from numconv.data._split import folds, split

__all__ = [
    "Compose",
    "DataLoader",
    "ImageFolder",
    "Normalize",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomShift",
    "digits",
    "fashion_mnist",
    "folds",
    "mnist_5000",
    "read_idx",
    "read_npz",
    "split",
]
