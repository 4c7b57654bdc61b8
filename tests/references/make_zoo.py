#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Parameters and stage borders of torchvision's networks, as a reference for tests/unit/test_zoo.c; the tests need neither.

    make_zoo.py > zoo.txt		(zoo.txt was made with torchvision 0.14.1)

A line per network, "net NAME PARAMETERS", and below it, in torchvision's order,

    param NAME SHAPE		a trainable parameter
    map MODULE CxHxW		the output of a module for one image of the paper's size, in the order of execution

resnet20 is not in torchvision: it is torchvision's ResNet code with the stem and the stages of He et al. 2016, 4.2, and 1x1
convolutions as shortcuts (option B), built below.
"""
import warnings

import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


def resnet20():
    net = ResNet(BasicBlock, [3, 3, 3, 1], num_classes=10)
    net.inplanes = 16
    net.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
    net.bn1 = nn.BatchNorm2d(16)
    net.maxpool = nn.Identity()
    net.layer1 = net._make_layer(BasicBlock, 16, 3)
    net.layer2 = net._make_layer(BasicBlock, 32, 3, stride=2)
    net.layer3 = net._make_layer(BasicBlock, 64, 3, stride=2)
    net.layer4 = nn.Identity()
    net.fc = nn.Linear(64, 10)
    return net


MODELS = torchvision.models
STAGES = ["layer1", "layer2", "layer3", "layer4"]
# Network, size of the image, modules whose output is a stage border.
ZOO = {
    "resnet18": (MODELS.resnet18, 224, ["bn1", "maxpool"] + STAGES),
    "resnet50": (MODELS.resnet50, 224, ["bn1", "maxpool"] + STAGES),
    "resnet20": (resnet20, 32, ["bn1"] + STAGES[:3]),
    "vgg16_bn": (MODELS.vgg16_bn, 224, ["features.%d" % i for i in (6, 13, 23, 33, 43)]),
    "densenet121": (
        MODELS.densenet121,
        224,
        ["features.pool0"]
        + ["features.%s%d" % (n, i) for i in (1, 2, 3) for n in ("denseblock", "transition")]
        + ["features.denseblock4"],
    ),
    "googlenet": (
        lambda: MODELS.googlenet(aux_logits=False, init_weights=False),
        224,
        ["conv1", "maxpool1", "conv3", "maxpool2", "maxpool3", "maxpool4"]
        + ["inception" + n for n in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")],
    ),
    "mobilenet_v2": (MODELS.mobilenet_v2, 224, ["features.%d" % i for i in range(19)]),
    "efficientnet_b0": (MODELS.efficientnet_b0, 224, ["features.%d" % i for i in range(9)]),
}


def main():
    print("# SPDX-License-Identifier: MIT\n# Made by make_zoo.py.")
    for name, (make, size, stages) in ZOO.items():
        net = make().eval()
        print("net %s %d" % (name, sum(p.numel() for p in net.parameters())))
        for key, value in net.named_parameters():
            print("param", key, "x".join(map(str, value.shape)))
        modules, shapes = dict(net.named_modules()), {}
        for stage in stages:

            def keep(_module, _in, out, stage=stage):
                shapes[stage] = "x".join(map(str, out.shape[1:]))

            modules[stage].register_forward_hook(keep)
        with torch.no_grad():
            net(torch.zeros(1, 3, size, size))
        for stage, shape in shapes.items():
            print("map", stage, shape)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
