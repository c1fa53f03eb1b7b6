"""The meta-step of `maml_speed.py` in PyTorch: what a user would write without tfmeta.

    python recipes/benchmarks/maml_torch_loop.py --processes 2 --threads 1

Runs in a Python environment that has PyTorch and needs nothing else; `maml_speed.py` starts it.
Prints one line of JSON. Tasks are shared out to the processes, as data parallelism would; the
meta-gradients of the processes are not added up, which would cost them a little more.
"""

import argparse
import itertools
import json
import multiprocessing
import statistics
import time

import torch
from side_by_side import peak_memory_mb
from torch.nn import functional

N_BLOCKS = 4
INNER_RATE = 0.4


def conv4(filters, n_way):
    """Weights of four blocks of strided convolution and batch normalisation, and of the head."""
    weights = []
    for channels in (1, *[filters] * (N_BLOCKS - 1)):
        kernel = torch.nn.init.xavier_uniform_(torch.empty(filters, channels, 3, 3))
        weights += [kernel, torch.zeros(filters), torch.ones(filters), torch.zeros(filters)]
    weights += [torch.nn.init.xavier_uniform_(torch.empty(n_way, filters)), torch.zeros(n_way)]
    return [w.requires_grad_() for w in weights]


def loss_of(weights, images, labels):
    """Cross-entropy of a batch, normalised by itself."""
    x = images
    for block in range(N_BLOCKS):
        kernel, bias, scale, offset = weights[4 * block : 4 * block + 4]
        x = functional.conv2d(x, kernel, bias, stride=2, padding=1)
        x = functional.batch_norm(x, None, None, scale, offset, training=True)
        x = functional.relu(x)
    return functional.cross_entropy(functional.linear(x.mean((2, 3)), *weights[-2:]), labels)


def draw_tasks(options, n_tasks):
    """Support and query of every task: random pictures and their labels."""
    parts = []
    for n_each in (options.n_shot, options.n_query):
        labels = torch.arange(options.n_way).repeat_interleave(n_each)
        parts.append([(torch.rand(len(labels), 1, 28, 28), labels) for _ in range(n_tasks)])
    return list(zip(*parts, strict=True))


def meta_step(weights, optimizer, tasks, options):
    """One outer step: the query losses differentiated through the inner steps of their tasks."""
    optimizer.zero_grad()
    for support, query in tasks:
        adapted = weights
        for _ in range(options.inner_steps):
            loss = loss_of(adapted, *support)
            gradients = torch.autograd.grad(loss, adapted, create_graph=options.order == 2)
            adapted = [w - INNER_RATE * g for w, g in zip(adapted, gradients, strict=True)]
        (loss_of(adapted, *query) / len(tasks)).backward()
    optimizer.step()


def measure(options, barrier=None):
    """Median seconds of a meta-step, seconds of the first one, and the peak memory in MB."""
    torch.manual_seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    start = time.perf_counter()
    tasks = draw_tasks(options, options.n_tasks // options.processes)
    weights = conv4(options.filters, options.n_way)
    optimizer = torch.optim.Adam(weights, 1e-3)
    meta_step(weights, optimizer, tasks, options)
    first = time.perf_counter() - start
    if barrier is not None:
        barrier.wait()
    times = [time.perf_counter()]
    for _ in range(options.n_steps):
        meta_step(weights, optimizer, tasks, options)
        times.append(time.perf_counter())
    seconds = statistics.median(after - before for before, after in itertools.pairwise(times))
    return seconds, first, peak_memory_mb()


def worker(options, barrier, results):
    """One of several processes."""
    results.put(measure(options, barrier))


def measure_processes(options):
    """What `measure` returns, from each of the processes, which start together."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(options.processes), context.Queue()
    workers = [
        context.Process(target=worker, args=(options, barrier, results))
        for _ in range(options.processes)
    ]
    for process in workers:
        process.start()
    outcomes = [results.get() for _ in workers]
    for process in workers:
        process.join()
    return outcomes


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--inner-steps", type=int, default=5)
    add("--n-tasks", type=int, default=16)
    add("--n-way", type=int, default=5)
    add("--n-shot", type=int, default=1)
    add("--n-query", type=int, default=15)
    add("--filters", type=int, default=64)
    add("--order", type=int, default=2, choices=(1, 2))
    add("--n-steps", type=int, default=7)
    add("--threads", type=int, default=0, help="of a process; 0 for PyTorch's own choice")
    add("--processes", type=int, default=1)
    options = parser.parse_args()
    if options.n_tasks % options.processes:
        parser.error(
            f"--n-tasks must be a multiple of --processes ({options.processes}). "
            f"Received: --n-tasks {options.n_tasks}."
        )
    outcomes = [measure(options)] if options.processes == 1 else measure_processes(options)
    seconds, first, memory = zip(*outcomes, strict=True)
    figures = {
        "tasks_per_second": options.n_tasks / max(seconds),
        "first_step_seconds": max(first),
        "peak_memory_mb": sum(memory),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
