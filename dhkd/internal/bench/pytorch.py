"""PyTorch's side of make bench: the same training step, eager, float32, with the default number of threads.

Reads commands such as "run resnet20 32 64 dhkd 5" (network, image size, batch, method, steps) and answers each with a
line of JSON: the milliseconds of every step and of the processor's time, all threads together, or an error. A step is
forward, loss, backward, update and loss.item(). The network and the batch, which is ready in memory, stay from one
command to the next.
"""

import functools
import json
import platform
import sys
import time

import torch
import torch.nn.functional as F

import networks

CLASSES = 100
TEMPERATURE = 2.0


def binary_kl_norm(student, teacher):
    half = ((student - teacher) / (2 * TEMPERATURE)).abs()
    log_cosh = half + torch.log1p(torch.expm1(-2 * half) / 2)
    return TEMPERATURE**2 / len(student) * log_cosh.sum()


def aligned(g1, g2):
    """The sum of both gradients, each taken as one vector; in conflict g2 loses its component against g1."""
    flat1, flat2 = (torch.cat([g.flatten() for g in gradients]) for gradients in (g1, g2))
    scale = 1 + (-flat1.dot(flat2)).clamp(min=0) / flat1.dot(flat1)
    return [a * scale + b for a, b in zip(g1, g2)]


class Trainer:
    def __init__(self, network, size, batch, method):
        torch.manual_seed(0)
        self.dual = {"ce": False, "dhkd": True}[method]
        self.model = networks.create(network, CLASSES, "linear" if self.dual else "none")
        self.parameters = list(self.model.parameters())
        self.sgd = torch.optim.SGD(self.parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)
        self.images = torch.randn(batch, 3, size, size)
        self.labels = torch.randint(CLASSES, (batch,))
        self.teacher = torch.randn(batch, CLASSES)

    def step(self):
        logits, aux_logits = self.model(self.images)
        loss = F.cross_entropy(logits, self.labels)
        self.sgd.zero_grad()
        if self.dual:
            g1 = self.gradients(loss, retain_graph=True)
            distance = binary_kl_norm(aux_logits, self.teacher)
            g2 = self.gradients(distance)
            for parameter, gradient in zip(self.parameters, aligned(g1, g2)):
                parameter.grad = gradient
            loss = loss.detach() + distance.detach()
        else:
            loss.backward()
        self.sgd.step()
        return loss.item()

    def gradients(self, loss, **options):
        return torch.autograd.grad(loss, self.parameters, allow_unused=True, materialize_grads=True, **options)

    def time(self, steps):
        self.step()  # after a pause, and at first
        milliseconds = []
        processor = time.process_time()
        for _ in range(steps):
            start = time.perf_counter()
            self.step()
            milliseconds.append(1000 * (time.perf_counter() - start))
        return {"ms": milliseconds, "cpu_ms": 1000 * (time.process_time() - processor)}


@functools.cache
def trainer(network, size, batch, method):
    return Trainer(network, int(size), int(batch), method)


def answer(line):
    try:
        command, *case, steps = line.split()
        if command != "run":
            raise ValueError("the only command is run")
        return trainer(*case).time(int(steps))
    except Exception as e:
        return {"error": f"{line.strip()}: {type(e).__name__}: {e}"}


def say(what):
    print(json.dumps(what), flush=True)


say({"torch": torch.__version__, "python": platform.python_version(), "threads": torch.get_num_threads()})
for line in sys.stdin:
    say(answer(line))
