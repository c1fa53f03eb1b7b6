"""The training step of `prototypical_speed.py` in PyTorch: what a user would write without tfmeta.

    python recipes/benchmarks/prototypical_torch_loop.py --layout channels_last

Runs in a Python environment that has PyTorch and needs nothing else; `prototypical_speed.py` starts
it. Prints one line of JSON. Support and query of an episode are embedded together, as in the code
of Snell et al. (2017).
"""

import argparse
import json
import statistics
import time

import torch
from side_by_side import peak_memory_mb, seconds_of
from torch import nn

N_BLOCKS = 4


def conv4(filters):
    """Four blocks of convolution, batch normalisation, ReLU and 2x2 max pooling."""
    layers = []
    for channels in (1, *[filters] * (N_BLOCKS - 1)):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten())


def draw_tasks(options, memory_format):
    """Pictures of every task, support first, and the labels of its queries."""
    n_pictures = options.n_way * (options.n_shot + options.n_query)
    labels = torch.arange(options.n_way).repeat_interleave(options.n_query)
    return [
        (torch.rand(n_pictures, 1, 28, 28).to(memory_format=memory_format), labels)
        for _ in range(options.n_tasks)
    ]


def loss_of(network, pictures, labels, options):
    """Cross-entropy of the queries by their squared distances to the prototypes."""
    features = network(pictures)
    n_support = options.n_way * options.n_shot
    prototypes = features[:n_support].reshape(options.n_way, options.n_shot, -1).mean(1)
    distances = (features[n_support:, None] - prototypes[None]).square().sum(2)
    return nn.functional.cross_entropy(-distances, labels)


def training_step(network, optimizer, tasks, options):
    """One step of Adam on the mean loss of the tasks."""
    optimizer.zero_grad()
    for pictures, labels in tasks:
        (loss_of(network, pictures, labels, options) / len(tasks)).backward()
    optimizer.step()


def measure(options):
    """The figures of one measurement: rate, first step, memory."""
    torch.manual_seed(0)
    start = time.perf_counter()
    memory_format = getattr(torch, options.layout)
    tasks = draw_tasks(options, memory_format)
    network = conv4(options.filters).to(memory_format=memory_format)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    training_step(network, optimizer, tasks, options)
    first = time.perf_counter() - start

    def epoch():
        for _ in range(options.n_steps):
            training_step(network, optimizer, tasks, options)

    epoch()  # the first steps are slower
    seconds = statistics.median(seconds_of(epoch) for _ in range(options.n_epochs))
    return {
        "tasks_per_second": options.n_tasks * options.n_steps / seconds,
        "first_step_seconds": first,
        "peak_memory_mb": peak_memory_mb(),
    }


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--n-tasks", type=int, default=4)
    add("--n-way", type=int, default=20)
    add("--n-shot", type=int, default=1)
    add("--n-query", type=int, default=5)
    add("--filters", type=int, default=64)
    add("--n-steps", type=int, default=30)
    add("--n-epochs", type=int, default=3)
    add("--layout", default="contiguous_format", choices=("contiguous_format", "channels_last"))
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
