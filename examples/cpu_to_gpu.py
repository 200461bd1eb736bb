"""CPU to GPU: the same lines on arrays of the host and of a GPU, as functions and as a model.

Functions compute where their arrays are; a model is moved with `to`. Without a GPU, Numba's simulator takes its part,
in Python: it shows that the lines run and agree, and says nothing of speed. Needs: pip install 'numconv[cuda]'
"""

import os
import sys
import time

import numpy as np

import numconv as nc
from numconv import nn, random
from numconv.autograd import Tensor, no_grad

if not nc.cuda.is_available():
    reason = nc.cuda.info()["missing"].rstrip(".")
    if "numba-cuda" in reason or "NUMBA_ENABLE_CUDASIM" in os.environ:
        print(f"{reason}; with it, nc.cuda.to_device would copy the arrays below, and nothing else would change")
        sys.exit()
    print(f"{reason}: the simulator takes its part", flush=True)
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.argv])

simulated = nc.cuda.info()["simulated"]
batch, size, channels = (1, 6, 4) if simulated else (64, 56, 64)
rng = np.random.default_rng(0)
x = rng.standard_normal((batch, channels, size, size), dtype=np.float32)
w = rng.standard_normal((channels, channels, 3, 3), dtype=np.float32)


def work(x, w):
    """Written once; knows nothing of devices."""
    return nc.max_pool2d(nc.conv2d(x, w, padding=1, activation="relu"), 2)


def timed(function, *arrays):
    function(*arrays)  # compiles
    nc.cuda.synchronize()
    start = time.perf_counter()
    result = function(*arrays)
    nc.cuda.synchronize()
    return result, (time.perf_counter() - start) * 1e3


on_host, host_ms = timed(work, x, w)
there = nc.cuda.to_device(x), nc.cuda.to_device(w)
on_device, device_ms = timed(work, *there)
difference = np.abs(nc.cuda.to_host(on_device) - on_host).max() / np.abs(on_host).max()
print(f"{type(on_host).__name__} and {type(on_device).__name__} of {on_device.shape} differ by {difference:.0e}")
print(f"{host_ms:.2f} ms on the CPU, {device_ms:.2f} ms {'in the simulator' if simulated else 'on the GPU'}")

random.seed(0)
model = nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.GlobalAvgPool(), nn.Flatten(), nn.Linear(8, 3)).eval()
with no_grad():
    expected = model(Tensor(x)).numpy()
    model.to("cuda")
    scores = model(Tensor(there[0]))
print(f"the model's scores differ by {np.abs(scores.numpy() - expected).max():.0e}")
