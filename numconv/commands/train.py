"""Train a model on pictures.

examples:
  numconv train --model lenet5 --data digits
  numconv train --model lenet5 --set activation=relu --set pooling=max --data mnist --augment
  numconv train --model resnet18 --data photos --size 224 --out photos-run
  numconv train --model lenet5 --data digits --epochs 20 --resume

DIR gets checkpoint.npz after each epoch and on Ctrl-C, from which --resume goes on to the same result, to the bit; then
model.npz for numconv predict, and pictures: curves.png, filters.png, features.png.
mnist needs the extra numconv[mnist], fashion Debian's dataset-fashion-mnist, or its folder in NUMCONV_FASHION_MNIST.
Needs the extra: pip install numconv[train]
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from numconv.commands.common import add_json, show, write_json
from numconv.commands.datasets import HELP, Data, load
from numconv.extras import require
from numconv.terminal import Progress

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
SIZES = {"lenet5": 32}  # others take the pictures as they are
GREY = {"lenet5"}  # models that are told how many channels there are; others take three


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="one of numconv.models, such as lenet5, resnet18"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an argument of the model")
    parser.add_argument("--data", required=True, help=HELP)
    parser.add_argument("--size", type=int, help="height and width to bring the pictures to")
    parser.add_argument("--epochs", type=int, default=12, help="default: 12")
    parser.add_argument("--batch-size", type=int, default=32, help="default: 32")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adam", help="default: adam")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate; default: 0.001")
    parser.add_argument("--cosine", action="store_true", help="let the rate fall to 0 along a cosine")
    parser.add_argument("--augment", action="store_true", help="shift and turn the pictures at random")
    parser.add_argument("--validation", type=float, default=0.2, metavar="PART", help="kept to judge by; default: 0.2")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal results; default: 0")
    parser.add_argument("--out", type=Path, default=Path("numconv-train"), metavar="DIR", help="default: numconv-train")
    parser.add_argument("--resume", action="store_true", help="go on from DIR/checkpoint.npz")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    for module in ("tqdm", "matplotlib"):
        require(module, "train")
    from numconv import data, models, nn, optim, random, train

    arguments = dict(map(_argument, options.set))
    if options.model not in models.names():
        raise ValueError(f"--model: expected one of {', '.join(models.names())}, got {options.model!r}")
    if not 0 < options.validation < 1:
        raise ValueError(f"--validation: expected a part of the pictures above 0 and below 1, got {options.validation}")
    channels = arguments.get("in_channels") if options.model in GREY else 3
    size = SIZES.get(options.model) if options.size is None else options.size
    with Progress("steps", 1) as progress:
        progress.say(f"reading {options.data}")
        found = load(options.data, size, channels)
    generator = np.random.default_rng(options.seed)
    rest, part = data.split(found.X, found.y, options.validation, generator)
    if options.model in GREY:
        arguments["in_channels"] = found.X.shape[1]
    arguments = {"num_classes": len(found.classes), **arguments}
    notes = {"model": options.model, "arguments": json.dumps(arguments), "classes": json.dumps(found.classes)}
    notes["shape"] = json.dumps(list(found.X.shape[1:]))
    random.seed(options.seed)
    model = models.get(options.model, **arguments)
    optimizer = _optimizer(options, model.parameters())
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs) if options.cosine else None
    transform = data.Compose([data.RandomRotation(10), data.RandomShift(2)]) if options.augment else None
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / "checkpoint.npz"
    try:
        history = train.fit(
            model, *rest, epochs=options.epochs, batch_size=options.batch_size, optimizer=optimizer,
            scheduler=scheduler, validation=part, transform=transform, workers=int(options.augment),
            generator=generator, checkpoint=checkpoint, resume=options.resume, progress=True,
        )  # fmt: skip
    except KeyboardInterrupt:
        if checkpoint.exists():
            print(f"\nstopped; {checkpoint} has it all: --resume goes on", file=sys.stderr)
        raise
    nn.save(model.state_dict(), options.out / "model.npz", notes)
    train.draw_curves(history, options.out / "curves.png")
    train.draw_filters(model, options.out / "filters.png")
    train.draw_features(model, part[0][0], options.out / "features.png")
    last = history[-1]
    show(f"{last['validation_accuracy']:.2%} of {len(part[1])} pictures right that it was not trained on", options)
    show(f"{options.out}: checkpoint.npz, model.npz, curves.png, filters.png, features.png", options)
    write_json({"model": options.model, "classes": found.classes, "history": history}, options)


def restore(path: Path) -> tuple[Any, list[str], tuple[int, int, int]]:
    """The model of a file that `numconv train` wrote, its classes, and the shape of a picture."""
    from numconv import models, nn

    notes = nn.load_metadata(path)
    try:
        arguments, classes, shape = (json.loads(notes[name]) for name in ("arguments", "classes", "shape"))
        model = models.get(notes["model"], **arguments)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: expected a model.npz of numconv train ({error!r})") from error
    try:
        model.load_state_dict(nn.load(path))
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from error
    return model, [str(name) for name in classes], tuple(shape)


def judge(model: Any, found: Data) -> float:
    """The share of pictures that a model gets right."""
    from numconv import train

    return train.evaluate(model, found.X, found.y)[1]


def _optimizer(options: argparse.Namespace, parameters: Any) -> Any:
    from numconv import optim

    makers = {"adam": optim.Adam, "adamw": optim.AdamW, "rmsprop": optim.RMSprop}
    if options.optimizer == "sgd":
        return optim.SGD(parameters, options.lr, momentum=0.9)
    return makers[options.optimizer](parameters, options.lr)


def _argument(text: str) -> tuple[str, Any]:
    """`pooling=max` or `num_classes=7`."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--set: expected NAME=VALUE, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
