"""Compares runs pair by pair on the same frozen episodes, and writes one record of them.

    python recipes/compare_runs.py runs/maml runs/anil --setting 5way_1shot --record FILE

The first run is what the others are compared with: the mean of the paired differences in points,
with its 95 % interval, over episodes. Runs over other episodes are refused.
"""

import argparse
import json
import pathlib

from tfmeta import cli, runs
from tfmeta.evaluation import EpisodeReport, compare_reports


def row(folder, setting, first):
    """What the record says of one run."""
    run = json.loads((folder / "results.json").read_text("utf8"))
    report = EpisodeReport.from_json(folder / f"report_{setting}.json")
    paired = compare_reports(report, first)
    return {
        "learner": run["learner"],
        "metric": report.metric,
        "mean": report.mean,
        "ci": report.ci,
        "statistics": report.statistics,
        "difference": {"metric": report.metric, "mean": paired.mean, "ci": paired.ci},
        "minutes": run["minutes"],
        "command": run["command"],
    }


def main(arguments=None):
    """Prints the comparison, and returns its record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(recipe="compare_runs.py")
    parser.add_argument("runs", nargs="+", type=pathlib.Path, help="folders of runs")
    parser.add_argument("--setting", default="5way_1shot", help="which report of each run")
    parser.add_argument("--title", default="Comparison", help="what the table is called")
    parser.add_argument("--record", default=None, help="also write the record to this JSON file")
    options = cli.parse(parser, arguments)
    first = EpisodeReport.from_json(options.runs[0] / f"report_{options.setting}.json")
    record = {
        "title": options.title,
        "setting": options.setting,
        "n_episodes": first.n_episodes,
        "episode_hash": first.episode_hash,
        "comparison": [row(folder, options.setting, first) for folder in options.runs],
        **runs.circumstances(),
    }
    for line in record["comparison"]:
        paired = f"{100 * line['difference']['mean']:+.2f} ± {100 * line['difference']['ci']:.2f}"
        print(f"{line['learner']}: {100 * line['mean']:.2f} % ± {100 * line['ci']:.2f} ({paired})")
    if options.record:
        runs.write_record(record, options.record)
    return record


if __name__ == "__main__":
    main()
