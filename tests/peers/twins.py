"""Networks as torchvision computes them, in eval mode, from its `state_dict` keys and PyTorch's functions alone."""

import torch
import torch.nn.functional as F


class Weights:
    """A `state_dict`, and the layers that read it by name."""

    def __init__(self, state):
        self.state = state

    def conv(self, x, name, **options):
        return F.conv2d(x, self.state[name + ".weight"], self.state.get(name + ".bias"), **options)

    def bn(self, x, name, eps=1e-5):
        weight, bias, mean, var = (self.state[f"{name}.{k}"] for k in ("weight", "bias", "running_mean", "running_var"))
        return F.batch_norm(x, mean, var, weight, bias, eps=eps)

    def linear(self, x, name):
        return F.linear(x, self.state[name + ".weight"], self.state[name + ".bias"])


def head(x):
    return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)


def alexnet(w, x):
    x = F.max_pool2d(F.relu(w.conv(x, "features.0", stride=4, padding=2)), 3, 2)
    x = F.max_pool2d(F.relu(w.conv(x, "features.3", padding=2)), 3, 2)
    for i in (6, 8, 10):
        x = F.relu(w.conv(x, f"features.{i}", padding=1))
    x = torch.flatten(F.adaptive_avg_pool2d(F.max_pool2d(x, 3, 2), 6), 1)
    x = F.relu(w.linear(x, "classifier.1"))
    return w.linear(F.relu(w.linear(x, "classifier.4")), "classifier.6")


def vgg(w, x, stages):
    index = 0
    for count in stages:
        for _ in range(count):
            x = F.relu(w.conv(x, f"features.{index}", padding=1))
            index += 2
        x = F.max_pool2d(x, 2, 2)
        index += 1
    x = torch.flatten(F.adaptive_avg_pool2d(x, 7), 1)
    x = F.relu(w.linear(x, "classifier.0"))
    return w.linear(F.relu(w.linear(x, "classifier.3")), "classifier.6")


def resnet(w, x, layers, groups=1):
    x = F.max_pool2d(F.relu(w.bn(w.conv(x, "conv1", stride=2, padding=3), "bn1")), 3, 2, 1)
    for stage, blocks in enumerate(layers, 1):
        for i in range(blocks):
            name, stride = f"layer{stage}.{i}.", 2 if stage > 1 and i == 0 else 1
            if name + "conv3.weight" in w.state:
                y = F.relu(w.bn(w.conv(x, name + "conv1"), name + "bn1"))
                y = w.conv(y, name + "conv2", stride=stride, padding=1, groups=groups)
                y = w.bn(w.conv(F.relu(w.bn(y, name + "bn2")), name + "conv3"), name + "bn3")
            else:
                y = F.relu(w.bn(w.conv(x, name + "conv1", stride=stride, padding=1), name + "bn1"))
                y = w.bn(w.conv(y, name + "conv2", padding=1), name + "bn2")
            if name + "downsample.0.weight" in w.state:
                x = w.bn(w.conv(x, name + "downsample.0", stride=stride), name + "downsample.1")
            x = F.relu(x + y)
    return w.linear(head(x), "fc")


def googlenet(w, x):
    def conv(x, name, **options):
        return F.relu(w.bn(w.conv(x, name + ".conv", **options), name + ".bn", 1e-3))

    def pool(x, size=3):
        return F.max_pool2d(x, size, 2, ceil_mode=True)

    shifts = zip((0.229, 0.224, 0.225), (0.485, 0.456, 0.406))  # transform_input
    x = torch.stack([x[:, i] * (std / 0.5) + (mean - 0.5) / 0.5 for i, (std, mean) in enumerate(shifts)], 1)
    x = pool(conv(x, "conv1", stride=2, padding=3))
    x = pool(conv(conv(x, "conv2"), "conv3", padding=1))
    for name in ("3a", "3b", "pool", "4a", "4b", "4c", "4d", "4e", "pool 2", "5a", "5b"):
        if name.startswith("pool"):
            x = pool(x, 2 if name == "pool 2" else 3)
            continue
        n = f"inception{name}.branch"
        branch2 = conv(conv(x, n + "2.0"), n + "2.1", padding=1)
        branch3 = conv(conv(x, n + "3.0"), n + "3.1", padding=1)
        branch4 = conv(F.max_pool2d(x, 3, 1, 1, ceil_mode=True), n + "4.1")
        x = torch.cat([conv(x, n + "1"), branch2, branch3, branch4], 1)
    return w.linear(head(x), "fc")


def densenet(w, x, blocks):
    x = F.relu(w.bn(w.conv(x, "features.conv0", stride=2, padding=3), "features.norm0"))
    x = F.max_pool2d(x, 3, 2, 1)
    for b, layers in enumerate(blocks, 1):
        for i in range(1, layers + 1):
            name = f"features.denseblock{b}.denselayer{i}."
            y = w.conv(F.relu(w.bn(x, name + "norm1")), name + "conv1")
            y = w.conv(F.relu(w.bn(y, name + "norm2")), name + "conv2", padding=1)
            x = torch.cat([x, y], 1)
        if b < len(blocks):
            name = f"features.transition{b}."
            x = F.avg_pool2d(w.conv(F.relu(w.bn(x, name + "norm")), name + "conv"), 2, 2)
    return w.linear(head(F.relu(w.bn(x, "features.norm5"))), "classifier")


def mobilenet_v2(w, x):
    def conv(x, name, **options):
        x = w.conv(x, name + ".0", groups=len(x[0]) if options.pop("depthwise", False) else 1, **options)
        return F.relu6(w.bn(x, name + ".1"))

    x = conv(x, "features.0", stride=2, padding=1)
    for i in range(1, 18):
        name, y = f"features.{i}.conv.", x
        if i > 1:
            y = conv(y, name + "0")
        last = 1 if i == 1 else 2
        y = conv(y, f"{name}{last - 1}", stride=2 if i in (2, 4, 7, 14) else 1, padding=1, depthwise=True)
        y = w.bn(w.conv(y, f"{name}{last}"), f"{name}{last + 1}")
        x = x + y if x.shape == y.shape else y
    return w.linear(head(conv(x, "features.18")), "classifier.1")


def aspp(w, x, rates):
    """The head of DeepLabV3 as the keys of `classifier` have it."""

    def conv(x, name, **options):
        return F.relu(w.bn(w.conv(x, name + ".0", **options), name + ".1"))

    parts = [conv(x, "0.convs.0")]
    parts += [conv(x, f"0.convs.{i}", padding=rate, dilation=rate) for i, rate in enumerate(rates, 1)]
    n = f"0.convs.{len(rates) + 1}."
    pooled = F.relu(w.bn(w.conv(F.adaptive_avg_pool2d(x, 1), n + "1"), n + "2"))
    parts.append(F.interpolate(pooled, x.shape[2:], mode="bilinear", align_corners=False))
    x = conv(torch.cat(parts, 1), "0.project")
    return w.conv(F.relu(w.bn(w.conv(x, "1", padding=1), "2")), "4")


def fpn(w, features):
    above, found = None, []
    for i in reversed(range(len(features))):
        lateral = w.conv(features[i], f"inner_blocks.{i}.0")
        above = lateral if above is None else lateral + F.interpolate(above, lateral.shape[2:], mode="nearest")
        found.insert(0, w.conv(above, f"layer_blocks.{i}.0", padding=1))
    return found
