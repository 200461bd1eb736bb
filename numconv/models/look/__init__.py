"""Looking inside a model: what its layers give, what they answer to, and where on a picture a class is seen.

>>> import numpy as np
>>> from numconv import models
>>> from numconv.models import look
>>> model = models.lenet5(activation="relu", pooling="max")
>>> x = np.zeros((1, 1, 32, 32), np.float32)
>>> {name: maps.shape for name, maps in look.features(model, x, "features.[25]").items()}
{'features.2': (1, 6, 14, 14), 'features.5': (1, 16, 5, 5)}
>>> look.grad_cam(model, x, "features.4", 3).shape
(1, 32, 32)

Everything runs the model as it is used (dropout off, batch norm by its running means) and leaves it as it was: modules
keep their `training` flags, parameters their `grad`, and no hook stays behind, after an error neither. Models and
arrays are those of the host.
"""

from numconv.models.look._deconvnet import deconvnet
from numconv.models.look._gradients import grad_cam, saliency
from numconv.models.look._pictures import draw_heat, draw_maps, draw_pictures, overlay
from numconv.models.look._synthesis import invert, maximize, total_variation
from numconv.models.look._watch import features

__all__ = [
    "deconvnet",
    "draw_heat",
    "draw_maps",
    "draw_pictures",
    "features",
    "grad_cam",
    "invert",
    "maximize",
    "overlay",
    "saliency",
    "total_variation",
]
