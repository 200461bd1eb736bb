"""Benchmark shapes: the convolutions of ResNet-50, and families of convolutions that other known networks are made of.

A shape is data. `x` is (N, C, *spatial); `padding` is the same before and after. The batch is 1: a benchmark that wants
another replaces it (`dataclasses.replace`, or `Shape.batch`).
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Shape:
    """A convolution worth timing, and how often its network has it (`count`)."""

    name: str
    x: tuple[int, ...]
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False
    output_padding: tuple[int, ...] = ()
    count: int = 1

    @property
    def weight(self) -> tuple[int, ...]:
        """Shape of the weight, (out, in/groups, *kernel), transposed (in, out/groups, *kernel)."""
        if self.transposed:
            return (self.x[1], self.out_channels // self.groups, *self.kernel)
        return (self.out_channels, self.x[1] // self.groups, *self.kernel)

    @property
    def options(self) -> dict[str, object]:
        """Keyword arguments of the convolution."""
        options: dict[str, object] = {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }
        return options | {"output_padding": self.output_padding} if self.transposed else options

    def batch(self, n: int) -> "Shape":
        """The same convolution of n images."""
        return replace(self, x=(n, *self.x[1:]))


def _shape(name, x, out_channels, kernel, stride=1, padding=0, dilation=1, *, groups=1, count=1):
    dims = len(x) - 1

    def each(value):
        return value if isinstance(value, tuple) else (value,) * dims

    return Shape(
        name, (1, *x), out_channels, each(kernel), each(stride), each(padding), each(dilation), groups, count=count
    )


def _transposed(name, x, out_channels, kernel, stride=1, padding=0, output_padding=0, *, groups=1):
    shape = _shape(name, x, out_channels, kernel, stride, padding, groups=groups)
    return replace(shape, transposed=True, output_padding=(output_padding,) * (len(x) - 1))


# ResNet-50 v1.5 (He et al. 2016; the stride stands in the 3x3), 224x224: 53 convolutions, 23 distinct.
RESNET50 = (
    _shape("stem_7x7", (3, 224, 224), 64, 7, 2, 3),
    _shape("stage1_first_1x1", (64, 56, 56), 64, 1),
    _shape("stage1_3x3", (64, 56, 56), 64, 3, 1, 1, count=3),
    _shape("stage1_expand", (64, 56, 56), 256, 1, count=4),
    _shape("stage1_reduce", (256, 56, 56), 64, 1, count=2),
    _shape("stage2_first_1x1", (256, 56, 56), 128, 1),
    _shape("stage2_first_3x3", (128, 56, 56), 128, 3, 2, 1),
    _shape("stage2_shortcut", (256, 56, 56), 512, 1, 2),
    _shape("stage2_expand", (128, 28, 28), 512, 1, count=4),
    _shape("stage2_reduce", (512, 28, 28), 128, 1, count=3),
    _shape("stage2_3x3", (128, 28, 28), 128, 3, 1, 1, count=3),
    _shape("stage3_first_1x1", (512, 28, 28), 256, 1),
    _shape("stage3_first_3x3", (256, 28, 28), 256, 3, 2, 1),
    _shape("stage3_shortcut", (512, 28, 28), 1024, 1, 2),
    _shape("stage3_expand", (256, 14, 14), 1024, 1, count=6),
    _shape("stage3_reduce", (1024, 14, 14), 256, 1, count=5),
    _shape("stage3_3x3", (256, 14, 14), 256, 3, 1, 1, count=5),
    _shape("stage4_first_1x1", (1024, 14, 14), 512, 1),
    _shape("stage4_first_3x3", (512, 14, 14), 512, 3, 2, 1),
    _shape("stage4_shortcut", (1024, 14, 14), 2048, 1, 2),
    _shape("stage4_expand", (512, 7, 7), 2048, 1, count=3),
    _shape("stage4_reduce", (2048, 7, 7), 512, 1, count=2),
    _shape("stage4_3x3", (512, 7, 7), 512, 3, 1, 1, count=2),
)

FAMILIES: dict[str, tuple[Shape, ...]] = {
    "dense": (
        _shape("alexnet_conv1", (3, 227, 227), 96, 11, 4),
        _shape("alexnet_conv2", (96, 27, 27), 256, 5, 1, 2),
        _shape("vgg16_conv1_1", (3, 224, 224), 64, 3, 1, 1),
        _shape("vgg16_conv3_1", (128, 56, 56), 256, 3, 1, 1),
        _shape("vgg16_conv5_1", (512, 14, 14), 512, 3, 1, 1),
        _shape("inception_1x7", (192, 17, 17), 192, (1, 7), 1, (0, 3)),
        _shape("unet_valid_3x3", (64, 140, 140), 64, 3),
        _shape("vit_patch_16", (3, 224, 224), 768, 16, 16),
    ),
    "dilated": (
        _shape("deeplab_aspp_6", (512, 28, 28), 256, 3, 1, 6, 6),
        _shape("deeplab_aspp_18", (512, 28, 28), 256, 3, 1, 18, 18),
        _shape("drn_3x3_2", (256, 28, 28), 256, 3, 1, 2, 2),
        _shape("context_3x3_8", (21, 64, 64), 21, 3, 1, 8, 8),
    ),
    "depthwise": (
        _shape("mobilenet_v2_first", (32, 112, 112), 32, 3, 1, 1, groups=32),
        _shape("mobilenet_v2_strided", (96, 112, 112), 96, 3, 2, 1, groups=96),
        _shape("mobilenet_v2_last", (960, 7, 7), 960, 3, 1, 1, groups=960),
        _shape("efficientnet_5x5", (240, 28, 28), 240, 5, 1, 2, groups=240),
        _shape("convnext_7x7_56", (96, 56, 56), 96, 7, 1, 3, groups=96),
        _shape("convnext_7x7_14", (384, 14, 14), 384, 7, 1, 3, groups=384),
        _shape("multiplier_4", (64, 28, 28), 256, 3, 1, 1, groups=64),
    ),
    "grouped": (
        _shape("alexnet_conv4", (384, 13, 13), 384, 3, 1, 1, groups=2),
        _shape("resnext50_56", (128, 56, 56), 128, 3, 1, 1, groups=32),
        _shape("resnext50_14", (512, 14, 14), 512, 3, 1, 1, groups=32),
        _shape("shufflenet_pointwise", (240, 28, 28), 60, 1, groups=3),
        _shape("regnet_strided", (224, 56, 56), 224, 3, 2, 1, groups=2),
    ),
    "transposed": (
        _transposed("dcgan_project", (100, 1, 1), 1024, 4),
        _transposed("dcgan_8", (512, 8, 8), 256, 4, 2, 1),
        _transposed("dcgan_rgb", (128, 32, 32), 3, 4, 2, 1),
        _transposed("unet_up", (256, 28, 28), 128, 2, 2),
        _transposed("segmentation_3x3", (64, 56, 56), 32, 3, 2, 1, 1),
        _transposed("fcn_upsample_16", (21, 16, 16), 21, 32, 16, 8),
    ),
    "one_channel": (
        _shape("picture_3x3", (1, 512, 512), 1, 3, 1, 1),
        _shape("picture_7x7", (1, 512, 512), 1, 7, 1, 3),
        _shape("picture_31x31", (1, 256, 256), 1, 31, 1, 15),
        _shape("lenet_conv1", (1, 32, 32), 6, 5),
    ),
    "3d": (
        _shape("c3d_conv1", (3, 16, 112, 112), 64, 3, 1, 1),
        _shape("c3d_conv4a", (256, 4, 14, 14), 512, 3, 1, 1),
        _shape("unet3d_3x3x3", (32, 32, 32, 32), 64, 3, 1, 1),
        _shape("r2plus1d_time", (144, 16, 28, 28), 64, (3, 1, 1), 1, (1, 0, 0)),
    ),
    "1d": (
        _shape("wavenet_dilated", (64, 16000), 128, 2, 1, 0, 512),
        _shape("whisper_conv1", (80, 3000), 384, 3, 1, 1),
        _shape("wav2vec_conv0", (1, 16000), 512, 10, 5),
        _shape("series_resnet", (64, 500), 128, 7, 1, 3),
    ),
    "tiny": (
        _shape("digits_3x3", (1, 8, 8), 8, 3, 1, 1),
        _shape("cifar_1x1", (16, 8, 8), 16, 1),
        _shape("cifar_3x3", (16, 32, 32), 16, 3, 1, 1),
        _shape("squeeze_excite", (256, 1, 1), 16, 1),
        _shape("short_series", (4, 32), 4, 3, 1, 1),
    ),
}

# Whose gradients are raced: the 3x3 layers of stride 1 of ResNet-50, and two of VGG-16.
GRADIENTS: dict[str, tuple[Shape, ...]] = {
    "resnet50": tuple(s for s in RESNET50 if s.kernel == (3, 3) and s.stride == (1, 1)),
    "vgg16": (
        _shape("conv1_2", (64, 224, 224), 64, 3, 1, 1),
        _shape("conv3_2", (256, 56, 56), 256, 3, 1, 1),
    ),
}


@dataclass(frozen=True)
class Pooling:
    """A pooling worth timing: the public function's name and its options."""

    name: str
    x: tuple[int, ...]
    operation: str
    options: dict[str, object]
    count: int = 1

    def batch(self, n: int) -> "Pooling":
        """The same pooling of n images."""
        return replace(self, x=(n, *self.x[1:]))


POOLINGS = (
    Pooling("resnet_stem", (1, 64, 112, 112), "max_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
    Pooling("vgg_halving", (1, 64, 224, 224), "max_pool2d", {"kernel_size": 2, "stride": 2}),
    Pooling("densenet_halving", (1, 128, 56, 56), "avg_pool2d", {"kernel_size": 2, "stride": 2}),
    Pooling("inception_3x3", (1, 192, 35, 35), "avg_pool2d", {"kernel_size": 3, "stride": 1, "padding": 1}),
    Pooling("resnet_global", (1, 2048, 7, 7), "global_avg_pool", {}),
)
