"""Make the pictures of examples.md and look.md anew: `python docs/redraw.py` (needs what the examples need).

It runs the examples and the code of look.md, and puts what they draw and the pages show into docs/pictures, each file
below 100 kB.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
WIDTH, MOST = 720, 100_000  # pixels, bytes


def shrink(source: Path) -> None:
    """Write a picture to docs/pictures, of a palette of 256 colours and as wide as fits."""
    picture, width = Image.open(source).convert("RGB"), WIDTH
    target = DOCS / "pictures" / source.name
    while True:
        size = min(width, picture.width), round(picture.height * min(width, picture.width) / picture.width)
        small = picture.resize(size, Image.Resampling.LANCZOS)
        small.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size < MOST:
            break
        width = round(width * 0.9)


def main() -> None:
    (DOCS / "pictures").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        text = {name: (DOCS / name).read_text("utf-8") for name in ("look.md", "examples.md")}
        page = Path(folder, "look.py")
        page.write_text("\n".join(re.findall(r"^```python\n(.*?)^```$", text["look.md"], re.M | re.S)), "utf-8")
        for program in [page, *sorted((DOCS.parent / "examples").glob("*.py"))]:
            print(f"== {program.name}", flush=True)
            environment = os.environ | {"PYTHONPATH": str(DOCS.parent)}
            subprocess.run([sys.executable, str(program)], cwd=folder, env=environment, check=True)
        for name in re.findall(r"\(pictures/(.*?\.png)\)", "".join(text.values())):
            shrink(Path(folder, name))


if __name__ == "__main__":
    main()
