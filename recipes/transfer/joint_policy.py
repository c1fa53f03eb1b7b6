"""Joint training on a source with wrong labels and a small target: weights fixed and learned.

    python recipes/transfer/joint_policy.py                             # a few minutes on two cores
    python recipes/transfer/joint_policy.py --data glyphs               # embedded, 20 characters
    python recipes/transfer/joint_policy.py --data data/omniglot.npz --n-target 2

Half of the pictures are the source, of whose labels 40 % are wrong. The target is the other half,
tilted to the left, with labels of a few pictures of each class. By default the pictures are
scikit-learn's handwritten digits (`pip install scikit-learn`). Prints the accuracy on the rest of
the target, and how well the learned weights tell right source labels from wrong ones (AUROC; 0.5 is
a guess).

All methods have the same labelled pictures of the target and train on them. The learned policy
takes its validation loss on them too, since no others have labels. Every method ends with its last
step. The options were chosen on the test accuracy of seed 0, so the seeds begin with 1.
"""

import keras
import numpy as np
from PIL import Image

import tfmeta
from tfmeta import cli, runs, seeds
from tfmeta.data import handwritten_digits, split_examples
from tfmeta.functional import auroc
from tfmeta.models import conv4
from tfmeta.transfer import FineTune, JointTransfer, joint_batches
from tfmeta.transfer.domain_batches import endless

TILT = (10.0, 25.0)  # degrees


def parse(arguments):
    """The options."""
    parser = seeds.parser(__doc__, recipe="transfer/joint_policy.py", steps=800, first_seed=1)
    add = parser.add_argument
    add("--data", default="digits", help="digits | glyphs | FILE.npz | FOLDER")
    add("--image-size", type=int, default=20, help="of other data than digits")
    add("--n-classes", type=int, default=20, help="drawn from the data anew for each seed")
    add("--n-target", type=int, default=5, help="target pictures of a class with labels")
    add("--wrong", type=float, default=0.4, help="share of the source labels that are wrong")
    add("--inner-rate", type=float, default=0.1)
    add("--policy-rate", type=float, default=1e-3, help="Adam's for the policy")
    return cli.parse(parser, arguments)


def load_domains(options, seed):
    """Source and target examples of the same classes."""
    if options.data == "digits":
        examples = handwritten_digits()
    else:
        examples = cli.load_examples(options.data, options.image_size)
    draws = np.random.default_rng(seed)
    n_classes = min(options.n_classes, examples.n_classes)
    examples = examples.select(draws.permutation(examples.n_classes)[:n_classes])
    source, target = split_examples(examples, int(examples.class_counts.min()) // 2, seed=seed)
    target.x = np.stack([tilted(picture, draws) for picture in target.x])
    return source, target


def tilted(picture, draws):
    """A picture of the other domain: tilted to the left."""
    image = Image.fromarray(picture.squeeze())
    image = image.rotate(draws.uniform(*TILT), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(picture.shape)


def with_wrong_labels(y, n_classes, share, seed):
    """Labels of which a share is changed to another class, and which of them are right."""
    draws = np.random.default_rng(seed)
    is_wrong = draws.permutation(len(y)) < share * len(y)
    others = (y + draws.integers(1, n_classes, len(y))) % n_classes
    return np.where(is_wrong, others, y), ~is_wrong


def build_backbone(x):
    """The backbone of every method."""
    # Not batch normalisation: its moving averages would be those of neither domain.
    options = {"downsampling": "stride", "normalization": "group"}
    return conv4(x.shape[1:], filters=32, n_poolings=4 if x.shape[1] >= 16 else 2, **options)


def train_alone(x, y, options, seed):
    """A classifier of one domain."""
    model = FineTune(build_backbone(x), int(y.max()) + 1)
    return seeds.fit(model, endless(x, y, batch_size=options.batch_size, seed=seed), options)


def train_jointly(policy, parts, options, seed):
    """A classifier of both domains."""
    batches = joint_batches(*parts, batch_size=options.batch_size, seed=seed)
    model = JointTransfer(
        build_backbone(parts[0][0]),
        int(parts[0][1].max()) + 1,
        policy=policy,
        policy_optimizer=keras.optimizers.Adam(options.policy_rate),
        inner_rate=options.inner_rate,
    )
    return seeds.fit(model, batches, options)


def run(options, seed):
    """Accuracy of every method, and the AUROC of the learned weights, on one draw of the data."""
    source, target = load_domains(options, seed)
    noisy, is_right = with_wrong_labels(source.y, source.n_classes, options.wrong, seed)
    known, test = split_examples(target, options.n_target, seed=seed)
    source, known = (source.x, noisy), (known.x, known.y)
    models = {
        "uniform joint": train_jointly("uniform", (source, known), options, seed),
        "target only": train_alone(*known, options, seed),
        "source only": train_alone(*source, options, seed),
        "learned weights": train_jointly("learned", (source, known, known), options, seed),
    }
    weights = models["learned weights"].source_weights(*source)
    scores = {
        name: float(np.mean(model.predict(test.x, verbose=0).argmax(-1) == test.y))
        for name, model in reversed(models.items())  # the first is what others are compared with
    }
    return {**scores, "AUROC": float(auroc(weights[is_right], weights[~is_right]))}


def main(arguments=None):
    """Runs the recipe and returns its record."""
    options = parse(arguments)
    scores = seeds.over_seeds(
        lambda seed: run(options, seed), options.seeds, first=options.first_seed
    )
    others = {"AUROC of the weights": {"learned weights": scores.pop("AUROC")}}
    title = f"Joint training, {options.wrong:.0%} of the source labels wrong ({options.data})"
    record = seeds.seeds_record(scores, title=title, command=options.command, others=others)
    runs.write_table(record, options.record)
    return record


if __name__ == "__main__":
    tfmeta.configure_threads("operations")
    main()
