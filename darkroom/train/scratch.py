"""Mode `scratch`: train a network from random weights on pixels."""

from darkroom.core import precision, runtime
from darkroom.core.model_spec import BackboneSpec, ModelSpec
from darkroom.images.folders import listed
from darkroom.models import networks
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Pictures
from darkroom.train import batches, loop
from darkroom.train.history import kept_epoch
from darkroom.train.params import Params
from darkroom.train.result import Result


def fit(params: Params, session: loop.Session) -> Result:
    """Train the network that `params.network` names; pixels are cached in memory if they fit."""
    height, width = params.scratch.image_size
    train, val = (Pictures(listed(part), (height, width)).hold() for part in ("train", "val"))
    classes, choice = sorted(set(train.labels)), precision.choose(params.precision)
    settings = {"name": params.network, **params.scratch.model_dump(include={"image_size", "color", "activation"})}
    settings |= {option: getattr(params.scratch, option) for option in networks.OPTIONS.get(params.network, ())}
    network = networks.build(settings, len(classes), choice.policy)
    what = f"train.batch_size {params.batch_size} with train.scratch.image_size {params.scratch.image_size}"
    runtime.require_memory_for(network, params.batch_size, True, what, "choose smaller ones")
    shuffled = batches.ChangedPictures(train, classes, params, session.seed, params.scratch)
    trained = loop.fit(network, shuffled, val, classes, params, session)
    trained.load(network, kept_epoch(trained.history, params.keep))
    plain = networks.build(settings, len(classes))  # in float32, like a model that is loaded from disk
    plain.set_weights(network.get_weights())
    spec = ModelSpec(
        backbone=BackboneSpec(backbone=None, image_size=(height, width)),
        layers=(),
        tuned=None,
        head=settings,
        features=None,
        mirror=params.scratch.mirror,
        classes=tuple(classes),
    )
    return Result(Classifier(spec, plain, None), trained.history, choice.report())
