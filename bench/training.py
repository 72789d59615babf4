"""`python bench/training.py PAIRS... OUT`: trains recognition's comparator on pairs of pictures.

`bench.pairs` makes PAIRS. This runs in an environment of its own with numpy and torch, which the
project does not need. OUT is the comparator.npz that the package holds; recognition/comparator.py
reads it in plain numpy, and the layers here have its names.
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

RANGE, STRONGEST, CELL = 30.0, 8, 4  # as in recognition/comparator.py
HELD_OUT = 10  # every tenth photo's pairs are not learnt from
BATCH, RATE, DECAY = 128, 3e-3, 1e-3
TURNED = 0.25  # share of pictures whose colours are turned: colours alone tell nothing


class Comparator(nn.Module):
    """The network of recognition/comparator.py."""

    def __init__(self) -> None:
        super().__init__()
        self.e1 = nn.Conv2d(4, 16, 3, 2, 1)
        self.e2 = nn.Conv2d(16, 24, 3, 2, 1)
        self.e3 = nn.Conv2d(24, 32, 3, 1, 1)
        self.c1 = nn.Conv2d(66, 32, 1)
        self.c2 = nn.Conv2d(32, 32, 3, 1, 1)
        self.f1 = nn.Linear(64, 32)
        self.f2 = nn.Linear(32, 1)

    def forward(self, planes: Tensor) -> Tensor:
        inside = planes[:, 6:7]
        one, other = (
            self.read(torch.cat([planes[:, at : at + 3] * inside, inside], 1)) for at in (0, 3)
        )
        seen = functional.avg_pool2d(planes[:, 6:8], CELL)
        counts = seen[:, 1:2]
        both = torch.cat([(one - other).abs() * counts, one * other * counts, seen], 1)
        found = functional.relu(self.c2(functional.relu(self.c1(both)))) * counts
        mean = found.sum((2, 3)) / (counts.sum((2, 3)) + 1)
        strongest = found.flatten(2).topk(STRONGEST, 2).values.mean(2)
        hidden = functional.relu(self.f1(torch.cat([mean, strongest], 1)))
        return self.f2(hidden)[:, 0]

    def read(self, planes: Tensor) -> Tensor:
        first = functional.relu(self.e2(functional.relu(self.e1(planes))))
        return self.e3(first)


def scaled(stacks: Tensor) -> Tensor:
    """Bytes as the comparator scales them."""
    planes = stacks.float()
    middle = torch.tensor([127.5, 128, 128] * 2 + [0, 0])[:, None, None]
    factor = torch.tensor([100 / 255 / RANGE, 1 / RANGE, 1 / RANGE] * 2 + [1 / 255] * 2)
    return (planes - middle) * factor[:, None, None]


def varied(planes: Tensor) -> Tensor:
    """Turned and mirrored together; each picture in other light, some in other colours."""
    planes = torch.rot90(planes, int(torch.randint(4, (1,))), (2, 3))
    planes = (planes.flip(3) if torch.rand(1) < 0.5 else planes).clone()
    count = len(planes)
    for at in (0, 3):
        angle = torch.rand(count) * 2 * torch.pi * (torch.rand(count) < TURNED)
        cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
        a, b = planes[:, at + 1].clone(), planes[:, at + 2].clone()
        planes[:, at + 1], planes[:, at + 2] = cosine * a - sine * b, sine * a + cosine * b
        planes[:, at : at + 3] *= 1 + 0.1 * torch.randn(count, 1, 1, 1)
        planes[:, at] += 0.1 * torch.randn(count, 1, 1)
    return planes


def train(stacks: Tensor, same: Tensor, held_out: Tensor, rounds: int) -> Comparator:
    """What is held out is measured after each round."""
    net = Comparator()
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    learnt = torch.nonzero(~held_out)[:, 0]
    balance = (1 - same).sum() / same.sum()
    steps, most = 0, rounds * -(-len(learnt) // BATCH)
    for _ in range(rounds):
        for some in learnt[torch.randperm(len(learnt))].split(BATCH):
            share = steps / most
            rate = RATE * min(1.0, steps / 100) * 0.5 * (1 + np.cos(np.pi * share)) + 1e-5
            optimiser.param_groups[0]["lr"] = rate
            told = net(varied(scaled(stacks[some])))
            loss = functional.binary_cross_entropy_with_logits(told, same[some], pos_weight=balance)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps += 1
        print(f"{steps} steps; {measured(net, stacks[held_out], same[held_out])}", flush=True)
    return net


def measured(net: Comparator, stacks: Tensor, same: Tensor) -> str:
    with torch.no_grad():
        told = torch.cat([net(scaled(some)) for some in stacks.split(512)])
    right, wrong = told[same > 0.5], told[same < 0.5]
    limits = wrong.quantile(torch.tensor([0.99, 0.999]))
    found = [float((right > limit).float().mean()) for limit in limits]
    area = float((right[:, None] > wrong[None]).float().mean())
    return f"AUC {area:.4f}; {found[0]:.3f} found at 1 % wrong, {found[1]:.3f} at 0.1 %"


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("pairs", type=Path, nargs="+")
    words.add_argument("out", type=Path)
    words.add_argument("--rounds", type=int, default=12)
    given = words.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    parts: list[Any] = [np.load(path) for path in given.pairs]
    stacks = torch.from_numpy(np.concatenate([part["stacks"] for part in parts]))
    same = torch.from_numpy(np.concatenate([part["same"] for part in parts])).float()
    photo = torch.from_numpy(np.concatenate([part["photo"] for part in parts]))
    net = train(stacks, same, photo % HELD_OUT == 0, given.rounds)
    numbers = {name: value.numpy().astype(np.float16) for name, value in net.state_dict().items()}
    np.savez_compressed(given.out, **numbers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
