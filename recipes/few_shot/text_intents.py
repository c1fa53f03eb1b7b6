"""Prototypical Networks on texts: intents from one or five sentences each.

    python recipes/few_shot/text_intents.py --data intents.csv        # columns text and label
    python recipes/few_shot/text_intents.py --data intents.jsonl --text raw --label intent
    python recipes/few_shot/text_intents.py --data clinc150.json.gz   # pairs, as it is published
    python recipes/few_shot/text_intents.py --data intents.csv --backbone cnn

Prints the accuracy on frozen episodes of never-seen classes beside the nearest centroid in the
TF-IDF of characters, and writes reports, `learner.keras` and `saved_model`, which take raw strings,
into the run's folder. Vocabulary and document frequencies are those of the training classes.
"""

import tfmeta
from tfmeta import cli, data, runs
from tfmeta.controls import TfidfNearestCentroid
from tfmeta.models import text_cnn, text_ngrams, text_transformer, text_vectorization

# What suits each backbone, chosen on validation classes.
DEFAULTS = {
    "ngrams": {"steps": 240, "learning_rate": 5e-3, "dropout": 0.0, "word_dropout": 0.6},
    "cnn": {"steps": 1200, "learning_rate": 2e-3, "dropout": 0.3, "word_dropout": 0.1},
    "transformer": {"steps": 1200, "learning_rate": 1e-3, "dropout": 0.1, "word_dropout": 0.1},
}


def parse(arguments):
    """The options, with the default values of the backbone that they name."""
    parser = cli.parser(
        __doc__,
        recipe="few_shot/text_intents.py",
        n_way=20,
        n_shot=4,
        n_query=4,
        n_tasks=2,
        epochs=6,
        run="runs/text_intents",
    )
    cli.add_split_options(parser)
    parser.set_defaults(test_shots=[1, 5])
    add = parser.add_argument
    add("--data", required=True, help="FILE.csv | FILE.jsonl | FILE.json, each also with .gz")
    add("--text", default="text", help="column or key of the texts")
    add("--label", default="label", help="column or key of the labels")
    add("--backbone", default="ngrams", choices=tuple(DEFAULTS))
    add("--dropout", type=float, help="share of the features left out in training")
    add("--word-dropout", type=float, help="share of the words, or n-grams, left out in training")
    add("--length", type=int, default=24, help="words of a text, cnn and transformer only")
    add("--control", default="characters", choices=("characters", "words"), help="its terms")
    parser.set_defaults(**DEFAULTS[parser.parse_known_args(arguments)[0].backbone])
    return cli.parse(parser, arguments)


def load_texts(options):
    """The labelled texts; the kind of file is told by its ending."""
    name = options.data.removesuffix(".gz")
    if name.endswith(".json"):
        return data.from_json(options.data)
    load = data.from_jsonl if name.endswith(".jsonl") else data.from_csv
    return load(options.data, text=options.text, label=options.label)


def build_backbone(texts, options):
    """A network from raw strings to features, with the vocabulary of the training texts."""
    if options.backbone == "ngrams":
        return text_ngrams(texts, dropout=options.dropout, term_dropout=options.word_dropout)
    build = {"cnn": text_cnn, "transformer": text_transformer}[options.backbone]
    vocabulary = text_vectorization(texts, length=options.length)
    return build(vocabulary, dropout=options.dropout, word_dropout=options.word_dropout)


def main(arguments=None):
    """Runs the recipe and returns its reports."""
    options = parse(arguments)
    train, validation, test = cli.load_class_splits(options, load_texts(options))
    learner = tfmeta.learners.PrototypicalNetwork(build_backbone(train.x, options))
    run = runs.Run(options, cli.fit_classes(learner, train, validation, options))
    run.test_settings(test, control=TfidfNearestCentroid(train.x, terms=options.control))
    return run.finish()


if __name__ == "__main__":
    tfmeta.configure_threads("operations")
    main()
