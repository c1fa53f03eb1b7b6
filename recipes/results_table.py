"""Writes the results table of recipes/README.md from the records in recipes/results/.

    python recipes/results_table.py

Nothing in the table is typed by hand; a test says when it is stale.
"""

import itertools
import json
import pathlib

FOLDER = pathlib.Path(__file__).parent
# Recipes whose records share their episodes.
SIDE_BY_SIDE = ("few_shot/metric.py",)
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
COLUMNS = (
    "learner",
    "setting",
    "result",
    "control",
    "paper",
    "protocol",
    "training",
    "episodes",
    "command",
)


def quantity(summary):
    """Mean and interval, in per cent for accuracies."""
    scale, unit, digits = (100, " %", 2) if summary["metric"] == "accuracy" else (1, "", 3)
    return f"{summary['mean'] * scale:.{digits}f}{unit} ± {summary['ci'] * scale:.{digits}f}"


def published(record, result, papers):
    """The paper's number for the same learner, setting and data."""
    for paper in papers:
        same = paper["learner"] == record["learner"] and paper["setting"] == result["setting"]
        if same and paper["data"] in str(record["options"].get("data", "sinusoids")):
            return f"{paper['value']} ({paper['source']})"
    return "–"


def conditions(options):
    """What a run was trained on, in words."""
    words = [f"split {options['split'].split(':')[-1]}"] if options.get("split") else []
    words += [f"rotations: {options['rotate']}"] if "rotate" in options else []
    is_joined = options.get("train_on") == "trainval"
    return words + (["trained on train and validation, last epoch"] if is_joined else [])


def rows(records, papers):
    """One row for each setting of each record."""
    for record in records:
        options = record["options"]
        for result in record["results"]:
            protocol = [options["data"]] if "data" in options else []
            protocol += [str(result["protocol"]).strip("{}").replace("'", "")]
            protocol += conditions(options)
            control = result["control"]
            yield (
                record["learner"],
                f"{result['setting']}, {result['statistics']}",
                f"**{quantity(result)}**",
                "–" if control is None else f"{quantity(control)} ({control['name']})",
                published(record, result, papers),
                ", ".join(protocol),
                f"{record['minutes']} min on {record['device']}, seed {record['seed']}",
                f"{result['n_episodes']}, hash `{result['episode_hash']}`",
                f"`{record['command']}`",
            )


def learners_side_by_side(records, papers):
    """The table of learners on the same frozen episodes, a column for each setting."""
    first, options = records[0], records[0]["options"]
    episodes = [[(r["setting"], r["episode_hash"]) for r in each["results"]] for each in records]
    if any(other != episodes[0] for other in episodes):
        raise ValueError(f"The records are not of the same episodes. Received: {episodes}")
    settings = ", ".join(f"{name} `{episode_hash}`" for name, episode_hash in episodes[0])
    title = (
        f"**{first['recipe']} on {options['data']}** ({', '.join(conditions(options))}), "
        f"{options['n_episodes']} episodes a setting, {options['test_query']} queries a class, the "
        f"same for all ({settings}); {first['device']}, seed {first['seed']}; the papers' numbers "
        "in brackets"
    )
    controls = [result["control"] for result in first["results"]]
    cells = [
        *(learner_cells(number, record, papers) for number, record in enumerate(records, 1)),
        ("", controls[0]["name"], "", *(quantity(control) for control in controls), "–"),
    ]
    names = [name for name, _ in episodes[0]]
    table = markdown(("", "learner", "predictions", *names, "training"), cells)
    commands = "\n".join(f"{k}. `{r['command']}`" for k, r in enumerate(records, 1))
    return f"{title}\n\n{table}\n\n{commands}"


def learner_cells(number, record, papers):
    """The line of a learner: its results, each with the paper's number for the same setting."""
    cells = []
    for result in record["results"]:
        paper = published(record, result, papers)
        beside = "" if paper == "–" else f" ({paper.split(' (')[0]})"
        cells.append(f"**{quantity(result)}**{beside}")
    statistics = record["results"][0]["statistics"]
    return (str(number), record["learner"], statistics, *cells, f"{record['minutes']} min")


def compared(record):
    """One row for each learner of a comparison."""
    for number, row in enumerate(record["comparison"]):
        paired = f"{100 * row['difference']['mean']:+.2f} ± {100 * row['difference']['ci']:.2f}"
        yield (
            row["learner"],
            row["statistics"],
            f"**{quantity(row)}**",
            paired if number else "–",
            f"{row['minutes']} min",
        )


def comparison(record):
    """The table of a comparison, under a line that says what was compared."""
    against = f"against {record['comparison'][0]['learner']}, points"
    columns = ("learner", "predictions", "accuracy", against, "training")
    protocol = str(record["protocol"]).strip("{}").replace("'", "")
    title = (
        f"**{record['title']}** ({protocol}), {record['n_episodes']} episodes with hash "
        f"`{record['episode_hash']}`, paired differences with 95 % intervals, on "
        f"{record['device']}: `{record['command']}`"
    )
    return f"{title}\n\n{markdown(columns, compared(record))}"


def benchmark(records):
    """The table of one benchmark, a column for each of its runs, under their commands."""
    numbers = [str(k) for k in range(1, 1 + len(records))]
    runs = zip(numbers, records, strict=True)
    commands = "\n".join(f"{k}. {r['device']}: `{r['command']}`" for k, r in runs)
    names = dict.fromkeys(name for r in records for name in r["figures"])
    cells = (
        (name.replace("_", " "), *(str(r["figures"].get(name, "–")) for r in records))
        for name in names
    )
    script = records[0]["command"].split()[1].removeprefix("recipes/")
    return f"**{script}**\n\n{commands}\n\n{markdown(('figure', *numbers), cells)}"


def growth(record):
    """The table of a record that has one already, under its title, if any, and its command."""
    table = record["table"]
    title = f"**{record['title']}**, on " if "title" in record else ""
    rows = markdown(table["columns"], table["rows"])
    return f"{title}{record['device']}: `{record['command']}`\n\n{rows}"


def markdown(columns, cells):
    """A table."""
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables():
    """The tables of results, of comparisons and of benchmarks."""
    records = [json.loads(p.read_text("utf8")) for p in sorted(FOLDER.glob("results/*.json"))]
    papers = json.loads((FOLDER / "published.json").read_text("utf8"))
    with_results = [r for r in records if "results" in r]
    is_one_of_many = [r["recipe"] in SIDE_BY_SIDE for r in with_results]
    alone = itertools.compress(with_results, (not one for one in is_one_of_many))
    together = itertools.compress(with_results, is_one_of_many)
    results = [markdown(COLUMNS, rows(alone, papers))]
    results += [
        learners_side_by_side(list(each), papers)
        for _, each in itertools.groupby(together, lambda r: (r["recipe"], r["options"]["data"]))
    ]
    comparisons = [comparison(r) for r in records if "comparison" in r]
    measured = [r for r in records if "figures" in r]
    benchmarks = [
        benchmark(list(runs))
        for _, runs in itertools.groupby(measured, lambda r: r["command"].split()[1])
    ]
    growths = [growth(r) for r in records if "table" in r]
    return "\n\n".join([*results, *comparisons, *benchmarks, *growths])


def page():
    """The page with the present table in it."""
    text = (FOLDER / "README.md").read_text("utf8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def main():
    """Writes the page."""
    (FOLDER / "README.md").write_text(page(), "utf8")


if __name__ == "__main__":
    main()
