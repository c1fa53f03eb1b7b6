"""Writes the results table of recipes/README.md from the records in recipes/results/.

    python recipes/results_table.py

Nothing in the table is typed by hand; a test says when it is stale.
"""

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


def table():
    """The table, as Markdown."""
    records = [json.loads(p.read_text("utf8")) for p in sorted(FOLDER.glob("results/*.json"))]
    papers = json.loads((FOLDER / "published.json").read_text("utf8"))
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows(records, papers)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def page():
    """The page with the present table in it."""
    text = (FOLDER / "README.md").read_text("utf8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main():
    """Writes the page."""
    (FOLDER / "README.md").write_text(page(), "utf8")


if __name__ == "__main__":
    main()
