"""JAX's side of make bench: the same training step as one jitted program with donated state, float32, on its default
device. Written are the residual networks and VGG, and the methods in `distances`; what is not is said, and left out.

Maps are [N, H, W, C], kernels [H, W, in, out]. Parameters and running statistics are two dictionaries by PyTorch's names.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy
from jax import lax

import common


class Net:
    """One forward pass: the parameters p, the running statistics, and in training their new values."""

    def __init__(self, p, statistics, training):
        self.p, self.statistics, self.training, self.new = p, statistics, training, {}

    def conv(self, name, x, stride=1):
        w = self.p[name + ".weight"]
        pad = w.shape[0] // 2
        y = lax.conv_general_dilated(x, w, (stride, stride), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        bias = self.p.get(name + ".bias")
        return y if bias is None else y + bias

    def norm(self, name, x):
        mean, var = self.statistics[name + ".running_mean"], self.statistics[name + ".running_var"]
        if self.training:
            n = x.size // x.shape[-1]
            old = mean, var
            mean = x.mean((0, 1, 2))
            var = jnp.square(x - mean).mean((0, 1, 2))
            self.new[name + ".running_mean"] = 0.9 * old[0] + 0.1 * mean
            self.new[name + ".running_var"] = 0.9 * old[1] + 0.1 * var * (n / (n - 1))
        scale = lax.rsqrt(var + 1e-5) * self.p[name + ".weight"]
        return (x - mean) * scale + self.p[name + ".bias"]

    def linear(self, name, x):
        return x @ self.p[name + ".weight"].T + self.p[name + ".bias"]

    def heads(self, x, name):
        pooled = x.mean((1, 2))
        aux = self.linear(name + "2", pooled) if name + "2.weight" in self.p else None
        return {"logits": self.linear(name, pooled), "aux": aux, "pooled": pooled}


def resnet(net, x, depth):
    x = jax.nn.relu(net.norm("bn1", net.conv("conv1", x)))
    for stage in (1, 2, 3):
        for block in range((depth - 2) // 6):
            name, stride = f"layer{stage}.{block}.", 2 if stage > 1 and block == 0 else 1
            y = jax.nn.relu(net.norm(name + "bn1", net.conv(name + "conv1", x, stride)))
            y = net.norm(name + "bn2", net.conv(name + "conv2", y))
            if name + "downsample.0.weight" in net.p:
                x = net.norm(name + "downsample.1", net.conv(name + "downsample.0", x, stride))
            x = jax.nn.relu(y + x)
    return net.heads(x, "fc")


def wide_resnet(net, x, depth):
    x = net.conv("conv1", x)
    for stage in (1, 2, 3):
        for block in range((depth - 4) // 6):
            name, stride = f"block{stage}.layer.{block}.", 2 if stage > 1 and block == 0 else 1
            y = jax.nn.relu(net.norm(name + "bn1", x))
            if name + "convShortcut.weight" in net.p:
                x = net.conv(name + "convShortcut", y, stride)
            y = jax.nn.relu(net.norm(name + "bn2", net.conv(name + "conv1", y, stride)))
            x = x + net.conv(name + "conv2", y)
    return net.heads(jax.nn.relu(net.norm("bn1", x)), "fc")


def vgg(net, x):
    for block in range(5):
        i = 0
        while f"block{block}.{i}.weight" in net.p:
            x = jax.nn.relu(net.norm(f"block{block}.{i + 1}", net.conv(f"block{block}.{i}", x)))
            i += 3
        if block < 3:
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return net.heads(x, "classifier")


def forward_of(name):
    if m := re.fullmatch(r"resnet(\d+)(x4)?", name):
        return functools.partial(resnet, depth=int(m[1]))
    if m := re.fullmatch(r"wrn_(\d+)_\d+", name):
        return functools.partial(wide_resnet, depth=int(m[1]))
    if name.startswith("vgg"):
        return vgg
    raise NotImplementedError(f"{name} is not written for JAX")


# --- losses: of the hyper-parameters, the outputs of both networks, and the labels


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


def kl(student, teacher, t):
    p, q = jax.nn.log_softmax(student / t), jax.nn.log_softmax(teacher / t)
    return t**2 * (jnp.exp(q) * (q - p)).sum() / len(student)


def kd(hyper, s, t, labels):
    return hyper["alpha"] * kl(s["logits"], t["logits"], hyper["temperature"])


def dkd(hyper, s, t, labels):
    temperature, target = hyper["temperature"], jax.nn.one_hot(labels, s["logits"].shape[1], dtype=bool)
    a, b = (
        jnp.take_along_axis(jax.nn.log_softmax(o["logits"] / temperature), labels[:, None], 1)[:, 0] for o in (s, t)
    )
    p, q = jnp.exp(b), jnp.exp(a)
    tckd = temperature**2 * (p * (b - a) + (1 - p) * (jnp.log1p(-p) - jnp.log1p(-q))).mean()
    others = (jnp.where(target, -1e4, o["logits"]) for o in (s, t))
    return hyper["alpha"] * tckd + hyper["beta"] * kl(*others, temperature)


def dist(hyper, s, t, labels):
    p, q = (jax.nn.softmax(o["logits"] / hyper["temperature"]) for o in (s, t))

    def loss(axis):
        x, y = (v - v.mean(axis, keepdims=True) for v in (p, q))
        norms = jnp.linalg.norm(x, axis=axis) * jnp.linalg.norm(y, axis=axis)
        return 1 - ((x * y).sum(axis) / (norms + 1e-8)).mean()

    return hyper["temperature"] ** 2 * (hyper["alpha"] * loss(1) + hyper["beta"] * loss(0))


def dhkd(hyper, s, t, labels):
    half = jnp.abs((s["aux"] - t["logits"]) / (2 * hyper["temperature"]))
    log_cosh = half + jnp.log1p(jnp.expm1(-2 * half) / 2)
    return hyper["alpha"] * hyper["temperature"] ** 2 / len(half) * log_cosh.sum()


distances = {"kd": kd, "dkd": dkd, "dist": dist, "dhkd": dhkd}


# --- the step


def augmented(pixels, index, top, left, flip, pad):
    size = pixels.shape[1]
    padded = jnp.pad(pixels[index], ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    crop = jax.vmap(lambda image, y, x: lax.dynamic_slice(image, (y, x, 0), (size, size, 3)))
    x = crop(padded, top, left)
    return normalized(jnp.where(flip[:, None, None, None], x[:, :, ::-1], x))


def normalized(x):
    return (x.astype(jnp.float32) / 255 - 0.5) / 0.29


def make(job, method, fixture, data):
    hyper = method["method"]
    name = hyper["name"]
    student, teacher = forward_of(job["student"]), forward_of(job["teacher"])
    if name != "ce" and name not in distances:
        raise NotImplementedError(f"{name} is not written for JAX")
    heads = ("fc", "classifier")
    p, statistics = split(common.part(fixture, "student."))
    if name != "dhkd":
        p = {k: v for k, v in p.items() if not k.startswith(tuple(h + "2." for h in heads))}
    state = p, statistics, jax.tree.map(jnp.zeros_like, p)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, data, index, top, left, flip):
        p, statistics, momenta = state
        if job["given"]:
            images, labels, told = data["images"], data["labels"], data["given"]
        else:
            images = augmented(data["pixels"], index, top, left, flip, job["pad"])
            labels, told = data["train_labels"][index], None
            if name != "ce":
                told = teacher(Net(*data["teacher"], False), images)

        def losses(p):
            net = Net(p, statistics, True)
            out = student(net, images)
            first = hyper.get("gamma", 1) * cross_entropy(out["logits"], labels)
            return (first, 0.0 if name == "ce" else distances[name](hyper, out, told, labels)), net.new

        if hyper.get("align"):
            (first, second), back, new = jax.vjp(losses, p, has_aux=True)
            one, zero = jnp.float32(1), jnp.float32(0)
            (g1,), (g2,) = back((one, zero)), back((zero, one))
            dot, square = (sum(jax.tree.leaves(jax.tree.map(jnp.vdot, g1, g))) for g in (g2, g1))
            gradients = jax.tree.map(lambda a, b: (1 + jnp.maximum(-dot, 0) / square) * a + b, g1, g2)
            loss = first + second
        else:
            total = lambda p: (lambda pair, new: (pair[0] + pair[1], new))(*losses(p))
            (loss, new), gradients = jax.value_and_grad(total, has_aux=True)(p)
        momenta = jax.tree.map(lambda v, g, w: 0.9 * v + g + 5e-4 * w, momenta, gradients, p)
        return (jax.tree.map(lambda w, v: w - job["learning_rate"] * v, p, momenta), statistics | new, momenta), loss

    rng = numpy.random.default_rng(0)

    def run(verified):
        nonlocal state
        state, loss = step(state, data, *common.draw(rng, job, verified))
        return float(loss)

    return run


def split(weights):
    """Parameters and running statistics, kernels in JAX's order."""
    p, statistics = {}, {}
    for name, value in weights.items():
        where = statistics if "running_" in name else p
        where[name] = jnp.array(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value)
    return p, statistics


def start(job, fixture):
    data = {"train_labels": jnp.array(fixture["train_labels"]), "labels": jnp.array(fixture["labels"])}
    if job["given"]:
        data["given"] = {name: jnp.array(fixture["given." + name]) for name in ("logits", "pooled")}
        data["images"] = normalized(jnp.array(fixture["images"]))
    else:
        data["pixels"] = jnp.array(common.pixels(numpy.random.default_rng(1), job, fixture))
        data["teacher"] = split(common.part(fixture, "teacher."))
    written = [m for m in job["methods"] if m["method"]["name"] in ("ce", *distances)]
    if not written or job["given"] and len(written) == 1:
        raise NotImplementedError("no method of these is written for JAX")
    a, b = jnp.array(numpy.random.default_rng(2).standard_normal((2, 1536, 1536), numpy.float32))
    product = jax.jit(jnp.matmul)
    hello = {"versions": {"JAX": jax.__version__}, "gflops": common.gigaflops(lambda: product(a, b).block_until_ready())}
    return hello, {m["name"]: make(job, m, fixture, data) for m in written}


common.serve(start)
