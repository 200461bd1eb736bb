"""Training on arrays: `fit` and `predict`, checkpoints to go on from, pictures of what was learned.

>>> import numconv as nc
>>> from numconv import data, models, random, train
>>> random.seed(0)
>>> rest, part = data.split(*data.digits(32), 0.2)
>>> model = models.lenet5(activation="relu", pooling="max")
>>> history = train.fit(model, *rest, epochs=1, validation=part)
>>> train.predict(model, part[0]).shape
(359, 10)
"""

from numconv.train._evaluate import classification_loss, evaluate, predict
from numconv.train._fit import fit
from numconv.train._pictures import draw_curves, draw_features, draw_filters

__all__ = ["classification_loss", "draw_curves", "draw_features", "draw_filters", "evaluate", "fit", "predict"]
