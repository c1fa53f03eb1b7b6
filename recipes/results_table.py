"""Writes the results table of recipes/README.md from the records in recipes/results/.

    python recipes/results_table.py

Nothing in the table is typed by hand; a test says when it is stale.
"""

import itertools
import json
import pathlib

FOLDER = pathlib.Path(__file__).parent
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


def rows(records, papers):
    """One row for each setting of each record."""
    for record in records:
        options = record["options"]
        for result in record["results"]:
            protocol = [str(result["protocol"]).strip("{}").replace("'", "")]
            protocol += [f"split {options['split'].split(':')[-1]}"] if options.get("split") else []
            protocol += [f"rotations: {options['rotate']}"] if "rotate" in options else []
            is_joined = options.get("train_on") == "trainval"
            protocol += ["trained on train and validation, last epoch"] if is_joined else []
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
    results = markdown(COLUMNS, rows([r for r in records if "results" in r], papers))
    comparisons = [comparison(r) for r in records if "comparison" in r]
    measured = [r for r in records if "figures" in r]
    benchmarks = [
        benchmark(list(runs))
        for _, runs in itertools.groupby(measured, lambda r: r["command"].split()[1])
    ]
    growths = [growth(r) for r in records if "table" in r]
    return "\n\n".join([results, *comparisons, *benchmarks, *growths])


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
