"""A convolutional recommender: from what somebody used so far, what next?

A session is a sequence of items, and the network predicts each item from those before it: causal convolutions of
growing dilation over the sequence of embedded items, as in NextItNet (Yuan et al. 2019, "A simple convolutional
generative network for next item recommendation"). The data are real and on every machine where numconv is: the
functions of Python's standard library, NumPy and Numba. A session is a function, its items are what it calls, in order
(`len`, `append`, `join`, ...); to recommend is to say what a programmer will call next. Modules, not sessions, are held
out for the test. Results depend a little on the versions of the three.

Two baselines: what is called most often anyway, and what most often followed the last call.
"""

import ast
import sysconfig
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from numconv import nn, optim, random, train
from numconv.autograd import functional as F

ITEMS, LENGTH, TOP = 600, 16, 10


def sessions(path):
    """What each function in a file calls, in order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the files' own making
        tree = ast.parse(path.read_bytes())
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
            calls.sort(key=lambda call: (call.end_lineno, call.end_col_offset))  # as they are carried out
            names = [getattr(call.func, "id", getattr(call.func, "attr", None)) for call in calls]
            yield [name for name in names if name]


library = Path(sysconfig.get_path("stdlib"))
found = [(library, path) for pattern in ("*.py", "[a-z]*/*.py") for path in library.glob(pattern)]
for package in (Path(find_spec(name).origin).parent for name in ("numpy", "numba")):
    found += [(package, path) for path in package.rglob("*.py")]
left_out = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages"}
files = sorted(path for root, path in found if not left_out & set(path.relative_to(root).parts))
modules = [[calls for calls in sessions(path) if len(calls) >= 3] for path in files]
np.random.default_rng(0).shuffle(modules)
fifth = len(modules) // 5
parts = [[calls for module in part for calls in module] for part in (modules[fifth:], modules[:fifth])]
counts = Counter(name for calls in parts[0] for name in calls)
known = {name: i for i, (name, _) in enumerate(counts.most_common(ITEMS - 2), 2)}  # 0 is nothing, 1 any other


def windows(part):
    """Items (N, LENGTH) and for each the one that follows; 0 where a session is over."""
    rows = []
    for calls in part:
        items = [known.get(name, 1) for name in calls]
        for start in range(0, len(items) - 1, LENGTH):
            piece = items[start : start + LENGTH + 1]
            rows.append(piece + [0] * (LENGTH + 1 - len(piece)))
    table = np.array(rows)
    return table[:, :-1], table[:, 1:]


class NextItem(nn.Module):
    """Scores of all items at each place of a sequence, from the places up to it."""

    def __init__(self, width=64):
        super().__init__()
        self.embed = nn.Conv1d(ITEMS, width, 1, bias=False)  # of one-hot items: a row of a table for each
        self.blocks = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=((2 * dilation, 0),), dilation=dilation) for dilation in (1, 2, 4)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in self.blocks)
        self.drop, self.score = nn.Dropout(0.3), nn.Conv1d(width, ITEMS, 1)

    def forward(self, items):
        one_hot = np.eye(ITEMS, dtype=np.float32)[np.asarray(items)].transpose(0, 2, 1)
        x = self.embed(one_hot)
        for conv, norm in zip(self.blocks, self.norms):
            x = x + F.relu(norm(conv(x)))
        return self.score(self.drop(x))


def loss(scores, items):
    """Cross entropy; what is nothing or any other item does not count."""
    return F.cross_entropy(scores, np.where(items > 1, items, -100))


def hits(scores, items):
    """How often the next item is among the ten with the highest scores (N, ITEMS, LENGTH), and its mean 1 / rank."""
    scores = np.moveaxis(scores, 1, 2)[items > 1].copy()
    scores[:, :2] = -np.inf
    wanted = items[items > 1]
    rank = 1 + np.sum(scores > scores[np.arange(len(wanted)), wanted][:, None], axis=1)
    return np.mean(rank <= TOP), np.mean(1 / rank)


(X, y), (test, after) = (windows(part) for part in parts)
print(f"{len(files)} modules, {len(X)} pieces of sessions to learn from, {len(test)} of other modules to test with")

popular = np.bincount(y.ravel(), minlength=ITEMS).astype(np.float32)
follows = np.zeros((ITEMS, ITEMS), np.float32)
np.add.at(follows, (X.ravel(), y.ravel()), 1)
follows += 1e-3 * popular  # what is popular, where nothing else is known
by_popularity = np.broadcast_to(popular[:, None], (len(test), ITEMS, LENGTH))
by_last = follows[test].transpose(0, 2, 1)

random.seed(0)
model = NextItem()
optimizer = optim.Adam(model.parameters(), 4e-3)
scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
train.fit(model, X, y, epochs=5, batch_size=64, scheduler=scheduler, optimizer=optimizer, loss=loss)
by_network = train.predict(model, test)
for name, scores in (("popularity", by_popularity), ("the last item", by_last), ("network", by_network)):
    share, inverse = hits(scores, after)
    print(f"{name}: the next call is among {TOP} recommended {share:.1%} of the time, mean 1/rank {inverse:.3f}")

names = {i: name for name, i in known.items()}
for calls in (["open", "read"], ["len", "range"], ["isinstance", "isinstance"]):
    given = np.zeros((1, LENGTH), np.int64)
    given[0, : len(calls)] = [known[name] for name in calls]
    scores = train.predict(model, given)[0, 2:, len(calls) - 1]
    print(f"after {', '.join(calls)}:", ", ".join(names[i + 2] for i in np.argsort(-scores)[:5]))
