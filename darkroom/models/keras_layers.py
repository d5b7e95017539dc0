"""This project's own Keras layers. Importing this module registers all of them, so that Keras can load saved models."""

from darkroom.backbones.keras_apps import Preprocess, Resize
from darkroom.models.heads.layers import Kernel, Neighbours, SignedRoot, Trees
from darkroom.models.networks.base import BatchNorm, Grey

LAYERS = (BatchNorm, Grey, Kernel, Neighbours, Preprocess, Resize, SignedRoot, Trees)
