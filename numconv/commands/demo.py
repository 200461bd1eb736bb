"""Filter a photograph, race the algorithms, train a network, and write pictures and a page.

example:
  numconv demo --out pictures

Edge detection, blurs, sharpening, dilated and transposed convolution and pooling on a photograph that numconv carries;
then a race of one ResNet layer against NumPy, and against SciPy and PyTorch where they are installed; then LeNet-5 is
trained to read handwritten digits. DIR gets the pictures (PNG), overview.png with most of them, and index.html, which
holds everything in one file.
Needs the extra: pip install numconv[demo]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from numconv.commands.common import add_json, show, write_json
from numconv.extras import require


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("numconv-demo"), metavar="DIR", help="default: numconv-demo")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    for module in ("PIL.Image", "matplotlib", "tqdm"):
        require(module, "demo")
    from tqdm import tqdm

    import numconv as nc
    from numconv.commands.info import machine_line
    from numconv.demo import learning, pictures, race
    from numconv.demo.overview import write_overview
    from numconv.demo.page import page

    options.out.mkdir(parents=True, exist_ok=True)
    layer = race.make_layer()
    field, refused = race.contenders(layer)
    steps = len(pictures.STEPS) + len(field) + race.ROUNDS + 2
    with tqdm(total=steps, disable=None, bar_format="{desc:<28}{bar} {n_fmt}/{total_fmt} {elapsed}") as bar:
        photo = pictures.photograph()
        made = [pictures.original(photo)]
        for picture in pictures.make_pictures(photo):
            bar.set_description_str(picture.step.title)
            made.append(picture)
            bar.update()
        bar.set_description_str("Race of a ResNet layer")
        timings = race.run(layer, field, bar.update)
        bar.set_description_str("Training LeNet-5 on digits")
        learned, outcome = learning.learn(options.out, bar.update)
        bar.set_description_str("Writing")
        files = [(picture, pictures.save(picture, options.out)) for picture in made]
        html = page(files, timings, refused, machine_line(), nc.get_num_threads(), learned, outcome)
        (options.out / "index.html").write_text(html, "utf-8")
        write_overview(made, timings, options.out / "overview.png")
        bar.update()
    show(race.summary(timings), options)
    show(outcome, options)
    write_json({"race": [vars(timing) for timing in timings], "learned": outcome}, options)
    show(f"{len(files) + len(learned)} pictures, overview.png and the page: {options.out / 'index.html'}", options)
