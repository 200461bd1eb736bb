"""What a process pays before its first result: importing, compiling, and loading what was compiled before."""

FIRST_CALLS = {
    "conv2d 3x3": "nc.conv2d(np.ones((1, 8, 32, 32), np.float32), np.ones((8, 8, 3, 3), np.float32), padding=1)",
    "conv2d 1x1": "nc.conv2d(np.ones((1, 64, 28, 28), np.float32), np.ones((64, 64, 1, 1), np.float32))",
    "conv2d depthwise": (
        "nc.conv2d(np.ones((1, 28, 28, 64), np.float32), np.ones((64, 1, 3, 3), np.float32), padding=1, groups=64,"
        " data_format='NHWC')"
    ),
    "max_pool2d": "nc.max_pool2d(np.ones((1, 8, 32, 32), np.float32), 2)",
    "lenet5 step": (
        "from numconv import models, optim, nn; model = models.lenet5(); optimizer = optim.Adam(model.parameters());"
        " nn.CrossEntropyLoss()(model(np.ones((4, 1, 32, 32), np.float32)), np.zeros(4, int)).backward();"
        " optimizer.step()"
    ),
}


def timeraw_import_numpy():
    """For comparison."""
    return "import numpy"


def timeraw_import():
    return "import numconv"


class FirstCall:
    params = (list(FIRST_CALLS),)
    param_names = ("call",)
    timeout = 120

    def timeraw_cached(self, name):
        """Its kernels are in the cache from the second sample on."""
        return f"import numpy as np, numconv as nc; {FIRST_CALLS[name]}"

    def timeraw_compiled(self, name):
        off = "import os; os.environ['NUMCONV_CACHE'] = '0'"
        return f"{off}; import numpy as np, numconv as nc; {FIRST_CALLS[name]}"

    timeraw_compiled.rounds, timeraw_compiled.repeat = 1, 2  # up to ten seconds each
