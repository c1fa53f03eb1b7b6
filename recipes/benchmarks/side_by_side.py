"""What the benchmarks beside PyTorch share; needs Python alone, for both sides import it."""

import json
import statistics
import subprocess
import time


def seconds_of(function):
    """How long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak_memory_mb():
    """Peak memory of this process; `ru_maxrss` begins with that of the process that started it."""
    with open("/proc/self/status", encoding="utf8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


def printed_figures(python, script, options, names, *more):
    """What a measurement in another process prints as its last line, given the options `names`."""
    sizes = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in names]
    done = subprocess.run([python, script, *sizes, *more], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def command_of(options):
    """The command line, without the place of PyTorch on this machine."""
    return options.command.replace(options.torch_python or "PATH", "PATH")


def median_of(rounds, side, name):
    """The median of a figure of one side over the rounds."""
    return statistics.median(outcome[side][name] for outcome in rounds)


def compared(rounds, unit="tasks"):
    """Rate and memory of each side but tfmeta, and the medians of the rounds' ratios to it."""
    figures, rate = {}, f"{unit}_per_second"
    for side in [side for side in rounds[0] if side != "tfmeta"]:
        ratios = [outcome["tfmeta"][rate] / outcome[side][rate] for outcome in rounds]
        figures[f"{side}_{rate}"] = round(median_of(rounds, side, rate), 1)
        figures[f"{side}_peak_memory_mb"] = round(median_of(rounds, side, "peak_memory_mb"))
        figures[f"ratio_to_{side}"] = round(statistics.median(ratios), 2)
    return figures
