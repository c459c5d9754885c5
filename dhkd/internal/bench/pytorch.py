"""PyTorch's side of make bench: the same training step, eager or compiled, float32, with the default number of threads.

It runs where this project does: on an NVIDIA card (not tried yet) or the processor.
"""

import numpy
import torch
import torch._functorch.config
import torch.nn.functional as F

import common
import methods
import networks

torch._functorch.config.donated_buffer = False  # of a compiled graph, alignment needs two backward passes


class Trainer:
    def __init__(self, job, method, fixture, data):
        self.job, self.data = job, data
        self.hyper = method["method"]
        own = {k: torch.tensor(v) for k, v in common.part(fixture, f"method.{method['name']}.").items()}
        self.method = methods.classes[self.hyper["name"]](self.hyper, own, data["train_labels"])
        self.align = self.hyper.get("align", False)
        aux = "linear" if self.hyper["name"] == "dhkd" else "none"
        self.student = network(job, job["student"], aux, fixture, "student.")
        self.parameters = [*self.student.parameters(), *self.method.parameters()]
        self.sgd = torch.optim.SGD(self.parameters, lr=job["learning_rate"], momentum=0.9, weight_decay=5e-4, fused=True)
        self.losses = torch.compile(self.forward, dynamic=False) if job["compile"] else self.forward
        self.rng = numpy.random.default_rng(0)

    def forward(self, index, top, left, flip, u):
        data, maps = self.data, self.method.maps
        if self.job["given"]:
            images, labels, teacher = data["images"], data["labels"], data["teacher"]
        else:
            images, labels = augmented(data, index, top, left, flip), data["train_labels"][index]
            teacher = None
            if self.hyper["name"] != "ce":
                with torch.no_grad():
                    teacher = data["network"](images, maps)
        return self.method(self.student(images, maps), teacher, labels, index, u)

    def step(self, verified):
        u = None
        if self.method.random:
            shape = self.job["batch"], self.method.negatives
            u = torch.rand(shape) if verified is None else self.data["u"][verified]
        drawn = (on_device(x) for x in common.draw(self.rng, self.job, verified))
        loss, distance = self.losses(*drawn, u)
        self.sgd.zero_grad()
        if self.align:
            g1 = self.gradients(loss, retain_graph=True)
            g2 = self.gradients(distance)
            for parameter, gradient in zip(self.parameters, methods.aligned(g1, g2)):
                parameter.grad = gradient
            loss = loss.detach() + distance.detach()
        else:
            if distance is not None:
                loss = loss + distance
            loss.backward()
        self.sgd.step()
        self.method.after_step()
        return loss.item()

    def gradients(self, loss, **options):
        return torch.autograd.grad(loss, self.parameters, allow_unused=True, materialize_grads=True, **options)


def augmented(data, index, top, left, flip):
    """Windows of the padded images, some mirrored, normalised."""
    images = F.pad(data["pixels"][index], (0, 0, data["pad"], data["pad"], data["pad"], data["pad"]))
    size = data["pixels"].shape[1]
    columns = torch.arange(size).expand(len(index), size)
    columns = torch.where(flip[:, None], columns.flip(1), columns) + left[:, None]
    rows = top[:, None] + torch.arange(size)
    images = images[torch.arange(len(index))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return normalized(images, data["format"])


def normalized(images, memory_format):
    x = (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.29
    return x.contiguous(memory_format=memory_format)


def network(job, name, aux, fixture, prefix):
    net = networks.create(name, job["classes"], aux)
    known = net.state_dict()
    state = {k: torch.tensor(v) for k, v in common.part(fixture, prefix).items() if k in known}
    missing = [k for k in known if k not in state and not k.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(f"{name}: no initial values of {', '.join(missing)}")
    net.load_state_dict(state, strict=False)
    return net.to(memory_format=layout(job))


def on_device(array):
    return torch.from_numpy(array).to(torch.get_default_device(), non_blocking=True)


def layout(job):
    return torch.channels_last if job["channels_last"] else torch.contiguous_format


def start(job, fixture):
    if job["cuda"]:
        torch.set_default_device("cuda")
    torch.manual_seed(0)
    data = {
        "train_labels": torch.tensor(fixture["train_labels"]).long(), "labels": torch.tensor(fixture["labels"]).long(),
        "pad": job["pad"], "format": layout(job), "u": torch.tensor(fixture["u"]),
    }  # fmt: skip
    if job["given"]:
        given = {k: torch.tensor(v) for k, v in common.part(fixture, "given.").items()}
        maps = [given[f"map{i}"].permute(0, 3, 1, 2).contiguous(memory_format=layout(job)) for i in range(len(given) - 2)]
        data["teacher"] = networks.Outputs(given["logits"], None, given["pooled"], [(None, x) for x in maps])
        data["images"] = normalized(torch.tensor(fixture["images"]), layout(job))
    else:
        data["pixels"] = on_device(common.pixels(numpy.random.default_rng(1), job, fixture))
        if any(m["method"]["name"] != "ce" for m in job["methods"]):
            data["network"] = network(job, job["teacher"], "none", fixture, "teacher.").eval().requires_grad_(False)
    a, b = torch.randn(2, 1536, 1536)
    hello = {
        "versions": {"PyTorch": torch.__version__}, "threads": torch.get_num_threads(),
        "gflops": common.gigaflops(lambda: (a @ b)[0, 0].item()),  # which waits for a card
    }  # fmt: skip
    return hello, {m["name"]: Trainer(job, m, fixture, data).step for m in job["methods"]}


common.serve(start)
