r"""Few-shot learners on one pretrained backbone, on episodes of never-seen classes.

    python recipes/transfer/episodic.py                       # embedded glyphs, a few minutes
    python recipes/transfer/episodic.py --data data/caltech101_96px.npz --image-size 96 \
        --split data/caltech101_96px.npz:suggested_class_split --n-shot 5 \
        --weights data/weights/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5

With `--weights` the backbone is SqueezeNet with these weights, otherwise a Conv4 that first
classifies the training classes. SimpleShot takes its features as they are, the others bring them to
one length. Prototypes are fine-tuned on episodes; MAML adapts the head alone, or low-rank or FiLM
adapters and the head, by second-order steps from the nearest-prototype classifier, and its outer
loop trains the adapters and the rates of the inner steps.
"""

import os
import resource

import keras
from fine_tune import build_backbone

import tfmeta
from tfmeta import cli, pretraining, runs
from tfmeta.evaluation import evaluate_episodes
from tfmeta.inner_loop import LayerStepRates
from tfmeta.learners import MAML, PrototypicalNetwork, SimpleShot
from tfmeta.transfer import add_adapters

# The length of a feature vector, with which distances suit a softmax.
LENGTH = 4.0
METHODS = ("simple_shot", "prototypical", "maml_head", "maml_lora", "maml_film")


def parse(arguments):
    """The options."""
    parser = cli.parser(
        __doc__,
        recipe="transfer/episodic.py",
        steps=200,
        epochs=1,
        learning_rate=3e-4,
        steps_per_execution=1,
        run="runs/episodic",
    )
    cli.add_class_options(parser)
    pretraining.add_pretraining_options(parser)
    add = parser.add_argument
    add("--weights", default=None, help="an .h5 file for SqueezeNet; else Conv4, pretrained here")
    add("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    add("--inner-steps", type=int, default=3)
    add("--inner-rate", type=float, default=0.01)
    add("--save-memory", action="store_true", help="one task at a time, inner steps computed again")
    parser.set_defaults(rotate="none", pretrain_steps=1000)
    options = cli.parse(parser, arguments)
    options.test_ways = [options.n_way]  # the width of MAML's head fixes the number of classes
    return options


def of_one_length(backbone):
    """A backbone whose features are all equally long; those of a pretrained one have any length."""
    features = keras.layers.UnitNormalization(name="unit")(backbone.output)
    features = keras.layers.Rescaling(LENGTH, name="length")(features)
    return keras.Model(backbone.input, features, name=f"{backbone.name}_of_one_length")


def build_maml(backbone, kind, options):
    """MAML over the head, or over adapters and the head."""
    if kind == "head":
        backbone.trainable = False
    else:
        backbone = add_adapters(backbone, kind)
    # Of the backbone's dtype, by which the learner knows whether to scale pictures to 0 ... 1.
    pictures = keras.Input(backbone.input_shape[1:], dtype=backbone.inputs[0].dtype)
    head = keras.layers.Dense(options.n_way, name="head")
    network = keras.Sequential([pictures, of_one_length(backbone), head])
    return MAML(
        network,
        adapt="head" if kind == "head" else f"{kind}|head",
        head_init="prototypes",
        update_rule=LayerStepRates(options.inner_rate),
        inner_steps=options.inner_steps,
        tasks_at_once=1 if options.save_memory else None,
        checkpoint_inner=options.save_memory,
        statistics="running",
        name=f"maml_{kind}",
    )


def build_learner(method, backbone, train, options):
    """The learner of a method, untrained."""
    if method == "simple_shot":
        learner = SimpleShot(backbone, name=method)
        learner.set_center(train)
        return learner
    if method == "prototypical":
        return PrototypicalNetwork(of_one_length(backbone), name=method)
    return build_maml(backbone, method.removeprefix("maml_"), options)


def peak_memory_mb():
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def learn(method, weights, train, validation, options):
    """The trained learner of a method, and the minutes of its training."""
    backbone = build_backbone(train.example_shape, options)
    backbone.set_weights(weights)
    learner = build_learner(method, backbone, train, options)
    if method == "simple_shot":
        return learner, 0.0
    trained = cli.fit_classes(learner, train, validation, options)
    return trained.learner, trained.minutes


def pretrained_weights(train, options):
    """Weights of the backbone: of the file, or of a classification of the training classes."""
    backbone = build_backbone(train.example_shape, options)
    if not options.weights:
        head = keras.layers.Dense(train.n_classes)
        pretraining.pretrain(backbone, train, options, head=head)
    return backbone.get_weights()


def main(arguments=None):
    """Runs the recipe and returns its record."""
    options = parse(arguments)
    train, validation, test = cli.load_class_splits(options)
    run = options.run
    weights = pretrained_weights(train, options)
    sizes = {"n_way": options.n_way, "n_query": options.test_query}
    episodes = cli.frozen_episodes(test, options, **sizes)
    outcomes, peaks = [], []
    for method in options.methods:
        options.run = cli.new_folder(os.path.join(run, method))
        learner, minutes = learn(method, weights, train, validation, options)
        report = evaluate_episodes(learner, episodes, n_episodes=options.n_episodes, name=method)
        peaks.append(f"{peak_memory_mb():.0f}")
        print(f"{method}: {report}; at most {peaks[-1]} MB so far", flush=True)
        outcomes.append((report, minutes))
    title = (
        f"{os.path.basename(options.weights or 'Conv4')}, {options.n_shot} shots; peak memory so "
        f"far, learner by learner: {', '.join(peaks)} MB"
    )
    record = runs.comparison_record(outcomes, title=title, command=options.command)
    runs.write_record(record, os.path.join(run, "comparison.json"), options.record)
    return record


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
