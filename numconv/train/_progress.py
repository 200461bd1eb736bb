"""A line for each epoch that says how training goes, and Ctrl-C that waits for the end of a step."""

from __future__ import annotations

import math
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from numconv.extras import require
from numconv.train._evaluate import Totals


class Line:
    """What is said of an epoch, if `show`: tqdm's bar on a terminal or in a notebook, a line at its end elsewhere."""

    def __init__(self, show: bool, title: str, images: int, done: int) -> None:
        self.bar: Any = None
        self.title = title if show else ""
        if show and (sys.stderr.isatty() or "ipykernel" in sys.modules):
            form = "{desc} {bar:20} {n_fmt}/{total_fmt} {elapsed} {rate_fmt}{postfix}"
            options = {"desc": title, "unit": " images", "bar_format": form}
            self.bar = require("tqdm", "train").tqdm(total=images, initial=done, **options)

    def advance(self, images: int, totals: Totals) -> None:
        """Go on by a batch."""
        if self.bar is not None and self.bar.update(images):
            self.bar.set_postfix_str(shown("", totals.loss, totals.accuracy), refresh=False)

    def finish(self, text: str, speed: float) -> None:
        """Say how the epoch ended, and how many images a second it took."""
        if self.bar is not None:
            self.bar.set_postfix_str(text)
        elif self.title:
            print(f"{self.title}: {text}; {speed:.0f} images/s", file=sys.stderr, flush=True)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()


def shown(name: str, loss: float, accuracy: float) -> str:
    """A loss, and an accuracy where there is one."""
    right = "" if math.isnan(accuracy) else f", accuracy {accuracy:.2%}"
    return f"{name}loss {loss:.4f}{right}"


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Let Ctrl-C set an event in place of raising KeyboardInterrupt; a second one raises.

    Other threads than the main one, and programs that handle Ctrl-C themselves, are left alone.
    """
    asked = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield asked
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
