"""Any pretrained network as a backbone that takes raw pictures of any size."""

from __future__ import annotations

import os
import types

import keras

from tfmeta.layers import ApplicationPreprocessing
from tfmeta.models.squeezenet import squeezenet
from tfmeta.transfer import copy_weights

_SQUEEZENET_SIZE = 96


def pretrained(
    source: str | os.PathLike[str] | keras.Model,
    *,
    weights: str | os.PathLike[str] | None = "imagenet",
    image_size: int | tuple[int, int] | None = None,
    preprocessing: str | keras.layers.Layer | None = None,
    outputs: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """A pretrained network as a backbone from raw uint8 pictures of any size to features.

    Resizing and the network's own preprocessing are part of the graph, so that the same pictures
    go into training, into the saved model and into the export. Maps are averaged over positions.

    Args:
        source: the name of a builder in `keras.applications` (`"MobileNetV2"`), `"squeezenet"`,
            a `.keras` file, or a built `keras.Model` (a KerasHub backbone too). The network of a
            file or a model must end in features or maps, without a classifier.
        weights: `"imagenet"` (downloaded), an `.h5` file with weights by layer, or None for
            random ones; of a file or a model, `"imagenet"` means those it has.
        image_size: what pictures are resized to, one side or `(height, width)`; None for the
            network's own size, and for the pictures' where the network takes any.
        preprocessing: a module of `keras.applications` whose preprocessing is done, or a layer;
            None for the network's own, which for a file or a model is none.
        outputs: width of a linear head, named "head"; None for the backbone.
        name: name of the model; None for that of the network.

    Returns:
        A functional model from uint8 pictures `[batch, height, width, channels]` to features
        `[batch, features]`, or to logits `[batch, outputs]`.

    Raises:
        ValueError: for an unknown name, a file that is missing or does not fit, weights that
            cannot be downloaded, or a network that does not take pictures.

    Example:
        >>> backbone = pretrained("squeezenet", weights=None)
        >>> backbone(np.zeros((2, 50, 70, 3), "uint8")).shape
        TensorShape([2, 512])
    """
    network, own_preprocessing, own_size = _network(source, weights, image_size)
    shape = network.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] is None:
        raise ValueError(
            "A network for pictures must have one input [batch, height, width, channels]. "
            f"Received: a network with input shape {shape}. Other backbones are passed to a "
            "learner as they are."
        )
    pictures = keras.Input((None, None, shape[-1]), dtype="uint8", name="pictures")
    x = pictures
    size = _pair(image_size) or (None if None in shape[1:3] else shape[1:3]) or own_size
    if size is not None:
        # Not `keras.layers.Resizing`: its `training=True` would turn to training every layer after
        # it, wherever the model is called without saying which.
        x = keras.ops.image.resize(keras.ops.cast(x, "float32"), size)
    preprocessing = own_preprocessing if preprocessing is None else preprocessing
    if isinstance(preprocessing, str):
        preprocessing = ApplicationPreprocessing(preprocessing, name="preprocessing")
    if preprocessing is not None:
        x = preprocessing(x)
    x = network(x)
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    if outputs is not None:
        x = keras.layers.Dense(outputs, name="head")(x)
    return keras.Model(pictures, x, name=name or f"pretrained_{network.name}")


def _network(
    source: str | os.PathLike[str] | keras.Model,
    weights: str | os.PathLike[str] | None,
    image_size: int | tuple[int, int] | None,
) -> tuple[keras.Model, str | None, tuple[int, int] | None]:
    """The network, its preprocessing and its size of pictures."""
    if isinstance(source, keras.Model):
        return _with_weights(source, weights), None, None
    source = os.fspath(source)
    if source.endswith(".keras"):
        return _with_weights(_loaded(source), weights), None, None
    if source.lower() == "squeezenet":
        return _squeezenet(weights), "vgg16", (_SQUEEZENET_SIZE, _SQUEEZENET_SIZE)
    network, module = _application(source, weights, image_size)
    return network, module, None


def _squeezenet(weights: str | os.PathLike[str] | None) -> keras.Model:
    if weights == "imagenet":
        raise ValueError(
            "SqueezeNet is not in keras.applications: its weights must be a file. Received: "
            "weights='imagenet'. Pass the path of an .h5 file, or weights=None for random ones."
        )
    return squeezenet(weights=weights)


def _with_weights(network: keras.Model, weights: str | os.PathLike[str] | None) -> keras.Model:
    if weights not in (None, "imagenet"):
        copy_weights(weights, network)
    return network


def _loaded(path: str) -> keras.Model:
    if not os.path.isfile(path):
        raise ValueError(
            f"`source` must be a file that exists. Received: source={path!r}. Check the path."
        )
    return keras.saving.load_model(path, compile=False)


def _application(
    name: str,
    weights: str | os.PathLike[str] | None,
    image_size: int | tuple[int, int] | None,
) -> tuple[keras.Model, str]:
    """A network of `keras.applications`, and the name of the module with its preprocessing."""
    modules = {
        builder.lower(): (module, builder)
        for module, content in vars(keras.applications).items()
        if isinstance(content, types.ModuleType) and hasattr(content, "preprocess_input")
        for builder in vars(content)
        if hasattr(keras.applications, builder) and builder[0].isupper()
    }
    if name.lower() not in modules:
        known = sorted(builder for _, builder in modules.values())
        raise ValueError(
            "`source` must be 'squeezenet', a .keras file, a keras.Model or one of "
            f"keras.applications: {', '.join(known)}. Received: source={name!r}."
        )
    module, builder = modules[name.lower()]
    size = _pair(image_size)
    shape = {} if size is None else {"input_shape": (*size, 3)}
    is_file = weights not in (None, "imagenet")
    try:
        network = getattr(keras.applications, builder)(
            include_top=False, pooling="avg", weights=None if is_file else weights, **shape
        )
    except Exception as error:
        if "URL fetch failure" not in str(error):
            raise
        raise ValueError(
            f"The weights of {builder} must be downloaded once. Received: {error}. Connect to the "
            "network, or pass `weights=` the path of an .h5 file, or weights=None."
        ) from error
    return _with_weights(network, weights), module


def _pair(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    return (size, size) if isinstance(size, int) else size
