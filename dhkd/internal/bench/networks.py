"""The networks of dhkd/zoo in PyTorch, with the reference implementation's names, shapes and order of parameters.

create("resnet20", classes=100, aux="linear") takes every name of the zoo. A network takes images [N, 3, H, W] and gives
Outputs. Initial values are PyTorch's own.
"""

import re
from collections import OrderedDict
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


class Outputs(NamedTuple):
    logits: torch.Tensor  # [N, classes]
    aux_logits: torch.Tensor | None  # of the auxiliary head, where there is one
    pooled: torch.Tensor  # [N, d], what both heads read
    maps: list  # of each stage, if asked for: [N, C, H, W], and the same before the last ReLU


def create(name, classes=100, aux="none", head="linear"):
    net = body(name)
    net.add_heads(classes, aux, head)
    return net


def body(name):
    """The network of that name without its heads."""
    if m := re.fullmatch(r"resnet(8|14|20|32|44|56|110)|resnet(8|32)x4", name):
        widths, depth = ([16, 16, 32, 64], m[1]) if m[1] else ([32, 64, 128, 256], m[2])
        return ResNet(BasicBlock, widths, [(int(depth) - 2) // 6] * 3)
    if m := re.fullmatch(r"ResNet(18|34|50)(_imagenet)?", name):
        block = Bottleneck if m[1] == "50" else BasicBlock
        counts = [2, 2, 2, 2] if m[1] == "18" else [3, 4, 6, 3]
        return (ImageNetResNet if m[2] else ResNetV2)(block, [64, 64, 128, 256, 512], counts)
    if m := re.fullmatch(r"wrn_(\d+)_(\d+)", name):
        return WideResNet(int(m[1]), int(m[2]))
    if m := re.fullmatch(r"vgg(8|11|13|16|19)", name):
        return VGG(VGG.counts[m[1]])
    others = {"MobileNetV1": MobileNetV1, "MobileNetV2": MobileNetV2, "ShuffleV1": ShuffleV1, "ShuffleV2": ShuffleV2}
    if name not in others:
        raise ValueError(f"unknown network {name}")
    return others[name]()


def conv(inputs, outputs, kernel, stride=1, groups=1, bias=False):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)


def conv_bn_relu(inputs, outputs, kernel, stride=1, groups=1, bias=False):
    return [conv(inputs, outputs, kernel, stride, groups, bias), nn.BatchNorm2d(outputs), nn.ReLU()]


def in_turn(x, stages, maps):
    """Runs stages of blocks that end with a ReLU; block.sum is what comes before it."""
    for stage in stages:
        for block in stage:
            sum = block.sum(x)
            x = F.relu(sum)
        if maps is not None:
            maps.append((x, sum))
    return x


class Network(nn.Module):
    """features(x, maps) gives maps of self.width channels, whose mean over the pixels both heads read. It appends the
    pair of maps of each stage to the list, where there is one."""

    head = "fc"  # the main head's name; the auxiliary head's has a 2 after it

    def add_heads(self, classes, aux, head):
        kinds = {"linear": nn.Linear, "nonlinear": NonlinearHead}
        setattr(self, self.head, kinds[head](self.width, classes))
        if aux != "none":
            setattr(self, self.head + "2", kinds[aux](self.width, classes))

    def forward(self, x, with_maps=False):
        maps = [] if with_maps else None
        pooled = self.features(x, maps).mean((2, 3))
        aux = getattr(self, self.head + "2", None)
        return Outputs(getattr(self, self.head)(pooled), None if aux is None else aux(pooled), pooled, maps)


class NonlinearHead(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(inputs, 200), nn.Dropout(0.1), nn.BatchNorm1d(200), nn.ReLU(), nn.Linear(200, classes)
        )

    def forward(self, x):
        return self.net(x)


# --- ResNets


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs, width, stride, shortcut):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        add_shortcut(self, shortcut, inputs, width, stride)

    def sum(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(y)) + getattr(self, self.shortcut_name)(x)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, width, stride, shortcut):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        add_shortcut(self, shortcut, inputs, 4 * width, stride)

    def sum(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return self.bn3(self.conv3(y)) + getattr(self, self.shortcut_name)(x)


def add_shortcut(block, name, inputs, outputs, stride):
    """The shortcut's name differs between families."""
    block.shortcut_name, shortcut = name, nn.Identity()
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
    setattr(block, name, shortcut)


class ResNet(Network):
    """The CIFAR ResNets of depth 6n+2: widths of the stem and the stages, and the number of each stage's blocks."""

    shortcut = "downsample"

    def __init__(self, block, widths, counts):
        super().__init__()
        self.conv1, self.bn1 = self.stem(widths[0]), nn.BatchNorm2d(widths[0])
        self.stages, inputs = len(counts), widths[0]
        for stage, (width, count) in enumerate(zip(widths[1:], counts)):
            blocks = []
            for i in range(count):
                blocks.append(block(inputs, width, 2 if stage > 0 and i == 0 else 1, self.shortcut))
                inputs = width * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.width = inputs

    def stem(self, width):
        return conv(3, width, 3)

    def features(self, x, maps):
        x = F.relu(self.bn1(self.conv1(x)))
        return in_turn(x, (getattr(self, f"layer{stage + 1}") for stage in range(self.stages)), maps)


class ResNetV2(ResNet):
    """ResNet18, 34 and 50 with the CIFAR stem."""

    head, shortcut = "linear", "shortcut"


class ImageNetResNet(ResNet):
    """ResNet18, 34 and 50 as in torchvision."""

    def stem(self, width):
        return nn.Conv2d(3, width, 7, 2, 3, bias=False)

    def features(self, x, maps):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return in_turn(x, (self.layer1, self.layer2, self.layer3, self.layer4), maps)


class WideBlock(nn.Module):
    """Pre-activation: where the width changes, the shortcut starts behind the first batch norm and ReLU."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width, 3)
        self.convShortcut = conv(inputs, width, 1, stride) if inputs != width else None

    def forward(self, x, maps=None):
        normalized = self.bn1(x)
        if maps is not None:
            maps.append((x, normalized))  # of the stage before
        y = F.relu(normalized)
        if self.convShortcut is not None:
            x = self.convShortcut(y)
        return x + self.conv2(F.relu(self.bn2(self.conv1(y))))


class WideResNet(Network):
    def __init__(self, depth, factor):
        super().__init__()
        if depth < 10 or (depth - 4) % 6 or factor < 1:
            raise ValueError(f"wrn_{depth}_{factor}: the depth must be 6n+4, and the factor 1 or more")
        inputs, self.width = 16, 64 * factor
        self.conv1 = conv(3, inputs, 3)
        for stage, width in enumerate([16 * factor, 32 * factor, 64 * factor]):
            blocks = []
            for i in range((depth - 4) // 6):
                blocks.append(WideBlock(inputs, width, 2 if stage > 0 and i == 0 else 1))
                inputs = width
            setattr(self, f"block{stage + 1}", nn.Sequential(OrderedDict(layer=nn.Sequential(*blocks))))
        self.bn1 = nn.BatchNorm2d(inputs)

    def features(self, x, maps):
        x = self.conv1(x)
        for stage in (self.block1, self.block2, self.block3):
            for i, block in enumerate(stage.layer):
                x = block(x, maps if i == 0 and stage is not self.block1 else None)
        normalized = self.bn1(x)
        if maps is not None:
            maps.append((x, normalized))
        return F.relu(normalized)


# --- VGG


class VGG(Network):
    """The number of convolutions in each of five blocks."""

    head, width = "classifier", 512
    counts = {"8": [1] * 5, "11": [1, 1, 2, 2, 2], "13": [2] * 5, "16": [2, 2, 3, 3, 3], "19": [2, 2, 4, 4, 4]}

    def __init__(self, counts):
        super().__init__()
        inputs = 3
        for block, (width, count) in enumerate(zip([64, 128, 256, 512, 512], counts)):
            layers = []
            for _ in range(count):
                layers += conv_bn_relu(inputs, width, 3, bias=True)
                inputs = width
            setattr(self, f"block{block}", nn.Sequential(*layers))

    def features(self, x, maps):
        large = x.shape[2] == 64  # smaller images are not made smaller by a fourth pooling
        for block in range(5):
            normalized = getattr(self, f"block{block}")[:-1](x)
            x = F.relu(normalized)
            if maps is not None and block > 0:
                maps.append((x, normalized))
            if block < 3 or block == 3 and large:
                x = F.max_pool2d(x, 2)
        return x


# --- MobileNets


class MobileNetV1(Network):
    head, width = "classifier", 1024

    def __init__(self):
        super().__init__()
        layers, inputs = [nn.Sequential(*conv_bn_relu(3, 32, 3, 2))], 32
        plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + 5 * [(512, 1)] + [(1024, 2), (1024, 1)]
        for width, stride in plan:
            depthwise, pointwise = conv_bn_relu(inputs, inputs, 3, stride, inputs), conv_bn_relu(inputs, width, 1)
            layers.append(nn.Sequential(*depthwise, *pointwise))
            inputs = width
        self.model = nn.Sequential(*layers)

    def features(self, x, maps):
        return self.model(x)


class InvertedResidual(nn.Module):
    def __init__(self, inputs, width, stride, expansion):
        super().__init__()
        inner = expansion * inputs
        self.residual = stride == 1 and inputs == width
        self.conv = nn.Sequential(
            *conv_bn_relu(inputs, inner, 1),
            *conv_bn_relu(inner, inner, 3, stride, inner),
            *conv_bn_relu(inner, width, 1)[:2],  # without ReLU
        )

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(Network):
    """Half width, with a stem of stride 2."""

    head, width = "classifier", 1280

    def __init__(self):
        super().__init__()
        self.conv1, inputs = nn.Sequential(*conv_bn_relu(3, 16, 3, 2)), 16
        stages = []
        for expansion, width, count, stride in [
            (1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1)
        ]:  # fmt: skip
            blocks = []
            for i in range(count):
                blocks.append(InvertedResidual(inputs, width, stride if i == 0 else 1, expansion))
                inputs = width
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv2 = nn.Sequential(*conv_bn_relu(inputs, self.width, 1))

    def features(self, x, maps):
        x = self.conv1(x)
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if maps is not None and i in (1, 2, 4, 6):
                maps.append((x, x))  # linear: no ReLU follows
        return self.conv2(x)


# --- ShuffleNets


def shuffle(x, groups):
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleV1Block(nn.Module):
    """With stride 2 the input, pooled, is set beside the branch's output, else added to it."""

    groups = 3

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride, self.first_groups = stride, 1 if inputs == 24 else self.groups
        width = outputs - inputs if stride == 2 else outputs
        inner = width // 4
        self.conv1, self.bn1 = conv(inputs, inner, 1, groups=self.first_groups), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = conv(inner, inner, 3, stride, inner), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv(inner, width, 1, groups=self.groups), nn.BatchNorm2d(width)

    def sum(self, x):
        y = shuffle(F.relu(self.bn1(self.conv1(x))), self.first_groups)
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return torch.cat([y, F.avg_pool2d(x, 3, 2, 1)], 1) if self.stride == 2 else y + x


class ShuffleV1(Network):
    head, width = "linear", 960

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 24, 1), nn.BatchNorm2d(24)
        for stage, (inputs, width, count) in enumerate([(24, 240, 4), (240, 480, 8), (480, 960, 4)]):
            blocks = [ShuffleV1Block(inputs if i == 0 else width, width, 2 if i == 0 else 1) for i in range(count)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))

    def features(self, x, maps):
        return in_turn(F.relu(self.bn1(self.conv1(x))), (self.layer1, self.layer2, self.layer3), maps)


class ShuffleV2Block(nn.Module):
    """Half of the channels pass unchanged."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.conv1, self.bn1 = conv(half, half, 1), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = conv(half, half, 3, groups=half), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = conv(half, half, 1), nn.BatchNorm2d(half)

    def forward(self, x):
        kept, y = x.chunk(2, 1)
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(y)))))
        return shuffle(torch.cat([kept, F.relu(self.bn3(self.conv3(y)))], 1), 2)


class ShuffleV2Down(nn.Module):
    """Both branches halve the map."""

    def __init__(self, inputs, outputs):
        super().__init__()
        half = outputs // 2
        self.conv1, self.bn1 = conv(inputs, inputs, 3, 2, inputs), nn.BatchNorm2d(inputs)
        self.conv2, self.bn2 = conv(inputs, half, 1), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = conv(inputs, half, 1), nn.BatchNorm2d(half)
        self.conv4, self.bn4 = conv(half, half, 3, 2, half), nn.BatchNorm2d(half)
        self.conv5, self.bn5 = conv(half, half, 1), nn.BatchNorm2d(half)

    def forward(self, x):
        left = F.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        right = self.bn4(self.conv4(F.relu(self.bn3(self.conv3(x)))))
        return shuffle(torch.cat([left, F.relu(self.bn5(self.conv5(right)))], 1), 2)


class ShuffleV2(Network):
    head, width = "linear", 1024

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 24, 1), nn.BatchNorm2d(24)
        for stage, (inputs, width, count) in enumerate([(24, 116, 3), (116, 232, 7), (232, 464, 3)]):
            blocks = [ShuffleV2Down(inputs, width)] + [ShuffleV2Block(width) for _ in range(count)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.conv2, self.bn2 = conv(464, self.width, 1), nn.BatchNorm2d(self.width)

    def features(self, x, maps):
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3):
            x = stage(x)
            if maps is not None:
                maps.append((x, None))  # as a student's: before the ReLU only a teacher's are needed
        return F.relu(self.bn2(self.conv2(x)))
