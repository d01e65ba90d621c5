"""The table of architectures: plain facts, so that this module imports nothing but dataclasses."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Architecture:
    """A convolutional network without its classifier."""

    constructor: str | None  # name in keras.applications; None for the tiny network that this package builds itself
    smallest: int  # smallest input that it accepts, in pixels on a side
    # Scaling of the images that its ImageNet weights are for. unit: [0, 1]; symmetric: [-1, 1]; standardised: ImageNet's
    # mean and standard deviation per channel; caffe: [0, 255] minus ImageNet's mean per channel, in the order blue, green, red
    published_scaling: Literal["unit", "symmetric", "standardised", "caffe"]
    # Whether its first layers scale the input. none: no; fixed: always, so it takes [0, 255]; optional: yes or left out
    own_scaling: Literal["none", "fixed", "optional"]
    memory: int  # host memory in MB that a training needs at small image sizes; most of it holds the graph of the layers
    reference: str  # the paper


# fmt: off
BACKBONES: dict[str, Architecture] = {
    "EfficientNetB0": Architecture("EfficientNetB0", 32, "standardised", "fixed", 1500, "Tan and Le 2019, arXiv:1905.11946"),
    "DenseNet121": Architecture("DenseNet121", 32, "standardised", "none", 2000, "Huang et al. 2017, arXiv:1608.06993"),
    "DenseNet201": Architecture("DenseNet201", 32, "standardised", "none", 2700, "Huang et al. 2017, arXiv:1608.06993"),
    "InceptionV3": Architecture("InceptionV3", 75, "symmetric", "none", 1700, "Szegedy et al. 2016, arXiv:1512.00567"),
    "InceptionResNetV2": Architecture("InceptionResNetV2", 75, "symmetric", "none", 3000, "Szegedy et al. 2017, arXiv:1602.07261"),
    "Xception": Architecture("Xception", 71, "symmetric", "none", 1700, "Chollet 2017, arXiv:1610.02357"),
    "ResNet50": Architecture("ResNet50", 32, "caffe", "none", 1900, "He et al. 2016, arXiv:1512.03385"),
    "VGG19": Architecture("VGG19", 32, "caffe", "none", 1500, "Simonyan and Zisserman 2015, arXiv:1409.1556"),
    "MobileNet": Architecture("MobileNet", 32, "symmetric", "none", 1300, "Howard et al. 2017, arXiv:1704.04861"),
    "ConvNeXtTiny": Architecture("ConvNeXtTiny", 32, "standardised", "optional", 2400, "Liu et al. 2022, arXiv:2201.03545"),
    "EfficientNetV2B0": Architecture("EfficientNetV2B0", 32, "standardised", "optional", 1700, "Tan and Le 2021, arXiv:2104.00298"),
    "cnn": Architecture(None, 16, "unit", "none", 1200, "three small convolutions, for tests"),
}
# fmt: on
