"""Transfer learning: a network that tells digits apart learns which are even, from 30 pictures.

All of it is frozen but a new head; or some, the convolutions; or nothing; or it begins anew.
"""

import numpy as np

from numconv import data, models, nn, optim
from numconv.autograd import functional as F
from numconv.autograd import no_grad

nn.init.seed(0)
rng = np.random.default_rng(0)


def fit(model, X, y, epochs):
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = optim.Adam(learned, lr=2e-3)
    batches = data.DataLoader((X, y), 32, shuffle=True, generator=rng)
    for _ in range(epochs):
        for pictures, labels in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(pictures), labels).backward()
            optimizer.step()
    return sum(parameter.numel() for parameter in learned)


def accuracy(model, X, y):
    with no_grad():
        return np.mean(model.eval()(X).numpy().argmax(1) == y)


X, y = data.digits(size=32)
(X, y), (new, kinds) = data.split(X, y, 0.5, rng)
model = models.lenet5(activation="relu", pooling="max")
fit(model, X, y, epochs=8)
weights = model.state_dict()

few, rest, even = slice(30), slice(30, None), (kinds % 2 == 0).astype(int)
print(f"tells {accuracy(model, new, kinds):.1%} of {len(new)} other digits; even or odd, of {len(new[rest])} of them:")
for frozen in ("all but the head", "the convolutions", "nothing", "nothing, and begun anew"):
    model = models.lenet5(activation="relu", pooling="max")
    if frozen != "nothing, and begun anew":
        model.load_state_dict(weights)
    if frozen == "all but the head":
        model.requires_grad_(False)
    elif frozen == "the convolutions":
        model.features.requires_grad_(False)
    model.classifier[4] = nn.Linear(84, 2)  # a new head, which learns
    learned = fit(model, new[few], even[few], epochs=40)
    print(f"{accuracy(model, new[rest], even[rest]):.1%} with {learned:6,} parameters learned, frozen: {frozen}")
