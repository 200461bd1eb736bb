"""Training: it learns, repeats to the bit, goes on where it stopped, and says what is wrong."""

import io
import json
import math
import os
import signal
import sys

import numpy as np
import pytest
from PIL import Image
from processes import run

from numconv import data, models, nn, optim, random, train
from numconv.cli import main
from numconv.train import _fit

RUN = """
import hashlib, json
import numpy as np
import numconv as nc
from numconv import data, models, random, train
nc.set_num_threads({threads})
random.seed(0)
X, y = data.digits(32)
model = models.lenet5(activation="relu", pooling="max")
train.fit(model, X[:640], y[:640], epochs=1, transform=data.RandomShift(2), workers={workers})
print(json.dumps(hashlib.sha256(b"".join(w.tobytes() for w in model.state_dict().values())).hexdigest()))
"""


@pytest.fixture(scope="module")
def pictures():
    """160 digits of 8x8 and what they are."""
    X, y = data.digits()
    return X[:160], y[:160]


def small(seed=0):
    """A network with all that has a state: batch norm, dropout."""
    random.seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(128, 10),
    )  # fmt: skip


def contents(model):
    return {name: weight.tobytes() for name, weight in model.state_dict().items()}


def without_time(history):
    return [{name: value for name, value in entry.items() if name != "images_per_second"} for entry in history]


def test_lenet_learns_the_digits():
    random.seed(0)
    generator = np.random.default_rng(0)
    rest, part = data.split(*data.digits(32), 0.2, generator)
    model = models.lenet5(activation="relu", pooling="max")
    history = train.fit(model, *rest, epochs=3, validation=part, generator=generator)
    assert history[-1]["validation_accuracy"] > 0.9
    assert history[0]["loss"] > history[1]["loss"] > history[2]["loss"]
    scores = train.predict(model, part[0])
    assert np.mean(scores.argmax(1) == part[1]) == history[-1]["validation_accuracy"]


def test_a_step_is_that_of_the_parts(pictures):
    X, y = pictures
    model, other = small(), small()
    model[5].p = other[5].p = 0
    optimizer = optim.SGD(model.parameters(), 0.1)
    train.fit(model, X, y, epochs=1, batch_size=len(X), optimizer=optimizer, generator=np.random.default_rng(3))
    order = next(iter(data.DataLoader(np.arange(len(X)), len(X), True, generator=np.random.default_rng(3))))
    by_hand = optim.SGD(other.parameters(), 0.1)
    nn.CrossEntropyLoss()(other(X[order]), y[order]).backward()
    by_hand.step()
    assert contents(model) == contents(other)


@pytest.mark.parametrize("kind", ["adam", "momentum", "plateau"])
def test_two_epochs_and_two_are_four(pictures, kind, tmp_path):
    X, y = pictures

    def trained(seed, epochs, **options):
        model = small(seed)
        optimizer = (
            optim.Adam(model.parameters(), 1e-2)
            if kind == "adam"
            else optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
        )
        scheduler = (
            optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.9)
            if kind == "plateau"
            else optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
        )
        shift = data.RandomShift(1)
        history = train.fit(
            model, X, y, epochs=epochs, optimizer=optimizer, scheduler=scheduler, validation=(X, y), transform=shift,
            **options,
        )  # fmt: skip
        return model, history

    whole, expected = trained(0, 4, checkpoint=tmp_path / "whole.npz")
    trained(0, 2, checkpoint=tmp_path / "parts.npz")
    resumed, history = trained(7, 4, checkpoint=tmp_path / "parts.npz", resume=True)  # begun with other weights
    assert contents(resumed) == contents(whole)
    assert without_time(history) == without_time(expected)
    first, second = (nn.load(tmp_path / f"{name}.npz") for name in ("whole", "parts"))
    assert {n: a.tobytes() for n, a in first.items()} == {n: a.tobytes() for n, a in second.items()}
    assert len({entry["lr"] for entry in history}) > 1


def test_ctrl_c_keeps_the_step_and_the_run_goes_on(pictures, tmp_path):
    X, y = pictures
    whole = small()
    expected = train.fit(whole, X, y, epochs=3)
    calls = []

    def interrupted(output, target):
        calls.append(None)
        if len(calls) == 8:  # of 5 batches an epoch
            os.kill(os.getpid(), signal.SIGINT)
        return train.classification_loss(output, target)

    path = tmp_path / "run.npz"
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train.fit(small(), X, y, epochs=3, loss=interrupted, checkpoint=path)
    assert len(calls) == 8
    assert signal.getsignal(signal.SIGINT) is before
    resumed = small(1)
    history = train.fit(resumed, X, y, epochs=3, checkpoint=path, resume=True)
    assert contents(resumed) == contents(whole)
    assert without_time(history) == without_time(expected)


def test_a_loss_that_is_nan_stops_before_the_step(pictures, tmp_path):
    X, y = pictures
    X = X.copy()
    X[70] = np.nan
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = optim.SGD(model.parameters(), 0.1)
    with pytest.raises(FloatingPointError, match="loss is nan in epoch 1"):
        train.fit(model, X, y, optimizer=optimizer, checkpoint=tmp_path / "run.npz")
    assert all(np.isfinite(weight).all() for weight in model.state_dict().values())
    assert not (tmp_path / "run.npz").exists()


def test_results_are_the_same_for_any_number_of_threads(tmp_path):
    found = set()
    for threads, workers in ((1, 0), (2, 1)):
        (tmp_path / "code.py").write_text(RUN.format(threads=threads, workers=workers))
        blas = {f"{library}_NUM_THREADS": str(threads) for library in ("OPENBLAS", "MKL", "OMP")}
        found.add(run(tmp_path / "code.py", **blas))
    assert len(found) == 1


def test_modules_keep_their_flags(pictures):
    X, y = pictures
    model = small()
    model[1].eval()
    flags = [module.training for module in model.modules()]
    mean = model[1].running_mean.numpy().copy()
    train.predict(model, X)
    train.evaluate(model, X, y)
    np.testing.assert_array_equal(model[1].running_mean.numpy(), mean)
    assert [module.training for module in model.modules()] == flags
    train.fit(model, X, y, epochs=1)
    assert [module.training for module in model.modules()] == flags


def test_predict_takes_any_number_of_examples(pictures):
    X, _ = pictures
    model = small()
    scores = train.predict(model, X, 100)
    assert scores.shape == (160, 10)
    np.testing.assert_allclose(scores, train.predict(model, X, 7), rtol=0, atol=1e-5)
    assert train.predict(model, X[:0]).shape == (0, 10)


def test_evaluate_is_the_mean_over_examples(pictures):
    X, y = pictures
    model = small()
    loss, accuracy = train.evaluate(model, X, y, 64)
    scores = train.predict(model, X).astype(np.float64)
    shifted = scores - scores.max(1, keepdims=True)
    expected = np.mean(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(y)), y])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert accuracy == np.mean(scores.argmax(1) == y)


def test_targets_need_not_be_classes(pictures):
    X, _ = pictures
    random.seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 3, padding=1))
    history = train.fit(model, X, X, epochs=2, loss=nn.MSELoss())
    assert history[1]["loss"] < history[0]["loss"]
    assert math.isnan(history[0]["accuracy"])


def test_auxiliary_heads_count_a_part():
    rng = np.random.default_rng(0)
    scores, others = rng.standard_normal((2, 4, 3))
    y = np.array([0, 1, 2, 1])
    one, other = (train.classification_loss(nn.Parameter(s), y).item() for s in (scores, others))
    both = train.classification_loss((nn.Parameter(scores), nn.Parameter(others)), y).item()
    np.testing.assert_allclose(both, one + 0.3 * other, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"X": 3.0}, TypeError, "X must be"),
        ({"y": np.zeros(3, int)}, ValueError, "160 and 3"),
        ({"epochs": 0}, ValueError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"resume": True}, ValueError, "checkpoint"),
        ({"generator": 3}, TypeError, "generator"),
        ({"model": lambda x: x}, TypeError, "model"),
        ({"validation": (np.zeros((2, 1, 8, 8)), np.zeros(3, int))}, ValueError, "validation"),
        ({"checkpoint": "missing.npz", "resume": True}, FileNotFoundError, "missing.npz"),
    ],
)
def test_fit_refuses(pictures, change, error, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = small()
    before = contents(model)
    arguments = {"model": model, "X": pictures[0], "y": pictures[1], **change}
    with pytest.raises(error, match=words):
        train.fit(**arguments)
    assert contents(model) == before


def test_resume_refuses_another_run(pictures, tmp_path):
    X, y = pictures
    path = tmp_path / "run.npz"
    train.fit(small(), X, y, epochs=1, checkpoint=path)
    with pytest.raises(ValueError, match=r"another run: got.*160.*expected.*150"):
        train.fit(small(), X[:150], y[:150], epochs=2, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="another model"):
        train.fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), X, y, checkpoint=path, resume=True)
    nn.save({"model.weight": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="no checkpoint"):
        train.fit(small(), X, y, checkpoint=path, resume=True)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_progress_shows_loss_accuracy_and_speed(stream, pictures, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream())
    X, y = pictures
    train.fit(small(), X, y, epochs=2, validation=(X, y), progress=True)
    shown = sys.stderr.getvalue()
    for words in ("epoch 2/2", "images/s", "loss ", "accuracy ", "validation loss"):
        assert words in shown
    if stream is io.StringIO:  # a log: a line an epoch
        assert "\r" not in shown and shown.count("\n") == 2


def test_pictures_are_drawn(pictures, tmp_path):
    X, y = pictures
    model = small()
    history = train.fit(model, X, y, epochs=1)
    train.draw_curves(history, tmp_path / "curves.png")
    train.draw_filters(model, tmp_path / "filters.png")
    train.draw_features(model, X[0], tmp_path / "features.png")
    for name in ("curves", "filters", "features"):
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
        assert pixels.std() > 10
    with pytest.raises(ValueError, match="one picture"):
        train.draw_features(model, X, tmp_path / "features.png")
    with pytest.raises(ValueError, match="Conv2d"):
        train.draw_filters(nn.Sequential(nn.Flatten()), tmp_path / "filters.png")


# --- the program


@pytest.fixture
def file(tmp_path):
    """200 digits of 8x8, as one would bring them."""
    X, y = data.digits()
    np.savez(tmp_path / "some.npz", X=np.uint8(X[:200] * 255), y=y[:200])
    return str(tmp_path / "some.npz")


def trained(file, folder, epochs, *others):
    options = ["--set", "activation=relu", "--data", file, "--epochs", str(epochs), "--augment", "--out", str(folder)]
    return main(["train", "--model", "lenet5", *options, *others])


def test_the_program_trains_and_predicts(file, tmp_path, capsys):
    folder = tmp_path / "out"
    assert trained(file, folder, 2, "--lr", "0.005") == 0
    shown = capsys.readouterr()
    assert "epoch 2/2" in shown.err
    assert "of 40 pictures right" in shown.out
    names = {path.name for path in folder.iterdir()}
    assert names == {"checkpoint.npz", "model.npz", "curves.png", "filters.png", "features.png"}
    pixels = np.load(file)["X"][0, 0]
    Image.fromarray(pixels).save(tmp_path / "zero.png")
    Image.fromarray(255 - pixels).save(tmp_path / "ink.png")
    model = str(folder / "model.npz")
    assert main(["predict", model, str(tmp_path / "zero.png"), "--data", file]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "of 200 pictures right" in second
    assert main(["predict", model, str(tmp_path / "ink.png"), "--invert"]) == 0
    assert capsys.readouterr().out.split()[1:] == first.split()[1:]
    assert main(["predict", model, str(tmp_path / "zero.png"), "--data", file, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    (chances,) = found["pictures"].values()
    assert [f"{chance:.1%}" for chance in chances.values()] == first.split()[2::2]
    assert f"{found['right']:.2%} of {found['of']} pictures right" == second
    assert trained(file, folder, 1, "--json", str(tmp_path / "run.json")) == 0
    assert len(json.loads((tmp_path / "run.json").read_text())["history"]) == 1


def test_the_program_goes_on_after_ctrl_c(file, tmp_path, capsys, monkeypatch):
    assert trained(file, tmp_path / "whole", 2) == 0
    step, calls = _fit._step, []

    def interrupted(*arguments):
        calls.append(None)
        if len(calls) == 7:  # of 5 batches an epoch
            os.kill(os.getpid(), signal.SIGINT)
        step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_fit, "_step", interrupted)
        assert trained(file, tmp_path / "parts", 2) == 130
    assert "--resume goes on" in capsys.readouterr().err
    assert not (tmp_path / "parts" / "model.npz").exists()
    assert trained(file, tmp_path / "parts", 2, "--resume") == 0
    whole, parts = ((tmp_path / name / "model.npz").read_bytes() for name in ("whole", "parts"))
    assert whole == parts


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --model lenet6 --data digits", "lenet6"),
        ("train --model lenet5 --data nothing", "nothing"),
        ("train --model lenet5 --data digits --set pooling", "NAME=VALUE"),
        ("train --model lenet5 --data digits --set pooling=least", "least"),
        ("train --model lenet5 --data digits --validation 2", "--validation"),
        ("train --model lenet5 --data digits --epochs 0", "epochs"),
        ("train --model lenet5 --data digits --resume", "checkpoint.npz"),
        ("predict missing.npz --data digits", "missing.npz"),
        ("predict missing.npz", "PICTURE"),
    ],
)
def test_the_program_refuses_in_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    shown = capsys.readouterr().err
    assert words in shown
    assert shown.count("\n") == 1


def test_the_program_stops_at_nan(file, tmp_path, capsys):
    assert trained(file, tmp_path / "out", 3, "--optimizer", "sgd", "--lr", "1e12") == 1
    assert "the loss is " in capsys.readouterr().err.splitlines()[-1]
