"""Domain adaptation between printed and handwritten digits.

    python recipes/domain_adaptation/digits.py                          # a few minutes on two cores
    python recipes/domain_adaptation/digits.py --source handwritten     # the other direction

One domain is drawn from the fonts in matplotlib, the other is scikit-learn's handwritten digits
(`pip install scikit-learn`). Labels of the source, and half of the target's pictures without
labels, are trained on; the accuracy is that on the other half of the target, whose pictures are
seen in the test only, one by one (inductive).

No label of the target chooses anything: all methods train for the same number of steps and end with
the last one. The weights of DANN and DAN are 1, the schedule of DANN and the threshold of the
pseudo-labels are those of the library. CORAL's weight makes its discrepancy as large as the loss on
the source at the end of the training, the rule of its paper. DANN, DAN and Deep CORAL normalise
each domain by itself in training, so they do in the test: their moving statistics are recalibrated
on the target, which alone is AdaBN.
"""

import numpy as np

import tfmeta
from tfmeta import cli, runs, seeds
from tfmeta.data import handwritten_digits, printed_digits
from tfmeta.models import conv4
from tfmeta.transfer import (
    DAN,
    DANN,
    DeepCORAL,
    FineTune,
    domain_pairs,
    pseudo_labels,
    recalibrate,
)
from tfmeta.transfer.domain_batches import endless

DOMAINS = {"printed": printed_digits, "handwritten": handwritten_digits}


def parse(arguments):
    """The options."""
    parser = seeds.parser(__doc__, recipe="domain_adaptation/digits.py", steps=500)
    add = parser.add_argument
    add("--source", default="printed", choices=tuple(DOMAINS), help="the labelled domain")
    add("--coral-weight", type=float, default=500.0)
    return cli.parse(parser, arguments)


def adapters(options):
    """The learners that train on both domains, and their arguments."""
    return {
        "DANN": (DANN, {"steps": options.steps}),
        "DAN": (DAN, {}),
        "Deep CORAL": (DeepCORAL, {"weight": options.coral_weight}),
    }


def train_on_source(x, y, options, seed):
    """A classifier of one domain."""
    model = FineTune(build_backbone(x), int(y.max()) + 1, batch_norm="batch")
    return seeds.fit(model, endless(x, y, batch_size=options.batch_size, seed=seed), options)


def build_backbone(x):
    """The backbone of every method."""
    return conv4(x.shape[1:], downsampling="stride", n_poolings=2)


def use_statistics(model, x, options):
    """Normalises by the statistics of a domain."""
    n_batches = max(1, len(x) // options.batch_size)
    recalibrate(model.backbone, np.array_split(x, n_batches))


def accuracy(model, x, y):
    """The share of right classes."""
    return float(np.mean(model.predict(x, verbose=0).argmax(-1) == y))


def run(source, target, options, seed):
    """The target accuracy of every method, on one draw of the halves."""
    rows = np.random.default_rng(seed).permutation(len(target))
    half = len(rows) // 2
    unlabelled, test = target.x[rows[:half]], (target.x[rows[half:]], target.y[rows[half:]])
    model = train_on_source(source.x, source.y, options, seed)
    scores = {"source only": accuracy(model, *test)}
    sure_x, sure_y = pseudo_labels(model, unlabelled)
    use_statistics(model, unlabelled, options)
    scores["AdaBN"] = accuracy(model, *test)
    both = np.concatenate([source.x, sure_x]), np.concatenate([source.y, sure_y])
    scores["pseudo-labels"] = accuracy(train_on_source(*both, options, seed), *test)
    for name, (learner, arguments) in adapters(options).items():
        pairs = domain_pairs(
            source.x, source.y, unlabelled, batch_size=options.batch_size, seed=seed
        )
        model = learner(build_backbone(source.x), source.n_classes, **arguments)
        seeds.fit(model, pairs, options)
        use_statistics(model, unlabelled, options)
        scores[name] = accuracy(model, *test)
    return scores


def main(arguments=None):
    """Runs the recipe and returns its record."""
    options = parse(arguments)
    source, target = (DOMAINS[d]() for d in sorted(DOMAINS, key=lambda d: d != options.source))
    scores = seeds.over_seeds(
        lambda seed: run(source, target, options, seed), options.seeds, first=options.first_seed
    )
    title = f"Digits, {options.source} to {'/'.join(set(DOMAINS) - {options.source})}, inductive"
    record = seeds.seeds_record(scores, title=title, command=options.command)
    runs.write_table(record, options.record)
    return record


if __name__ == "__main__":
    tfmeta.configure_threads("operations")
    main()
