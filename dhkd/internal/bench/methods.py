"""The losses of dhkd/distill in PyTorch. A method takes the outputs of student and teacher and gives the loss on the
labels and the loss on the teacher, both weighted; the equations are in the doc comments there.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Method(nn.Module):
    """hyper: the hyper-parameters; own: the initial values of the method's parameters and buffers, by their names."""

    maps = False  # whether the loss is one of maps
    random = False  # whether it draws numbers

    def __init__(self, hyper, own, train_labels):
        super().__init__()
        self.gamma = hyper.get("gamma", 1)
        for name in "alpha", "beta", "temperature", "negatives", "bank_momentum":
            setattr(self, name, hyper.get(name))

    def forward(self, student, teacher, labels, index, u):
        return self.gamma * F.cross_entropy(student.logits, labels), self.distance(student, teacher, labels, index, u)

    def after_step(self):
        pass


class CE(Method):
    def distance(self, student, teacher, labels, index, u):
        return None


class KD(Method):
    def distance(self, student, teacher, labels, index, u):
        return self.alpha * kl(student.logits, teacher.logits, self.temperature)


class DKD(Method):
    def distance(self, student, teacher, labels, index, u):
        t = self.temperature
        target = F.one_hot(labels, student.logits.shape[1]).bool()
        odds_s, odds_t = (F.log_softmax(o.logits / t, 1)[target] for o in (student, teacher))
        p, q = odds_t.exp(), odds_s.exp()
        tckd = t**2 * (p * (odds_t - odds_s) + (1 - p) * (torch.log1p(-p) - torch.log1p(-q))).mean()
        others_s, others_t = (o.logits.masked_fill(target, -1e4) for o in (student, teacher))
        return self.alpha * tckd + self.beta * kl(others_s, others_t, t)


class DIST(Method):
    def distance(self, student, teacher, labels, index, u):
        p, q = (F.softmax(o.logits / self.temperature, 1) for o in (student, teacher))
        inter, intra = 1 - pearson(p, q, 1).mean(), 1 - pearson(p, q, 0).mean()
        return self.temperature**2 * (self.alpha * inter + self.beta * intra)


class RKD(Method):
    def distance(self, student, teacher, labels, index, u):
        (ds, cs), (dt, ct) = relations(student.pooled), relations(teacher.pooled)
        return self.alpha * F.smooth_l1_loss(ds, dt) + self.beta * F.smooth_l1_loss(cs, ct)


class CRD(Method):
    """All similarities are one product of matrices with the bank, of which those drawn are gathered: the published code
    gathers [N, negatives, dim] first, which takes many times as long."""

    random = True

    def __init__(self, hyper, own, train_labels):
        super().__init__(hyper, own, train_labels)
        self.embed_s, self.embed_t = linear(own, "embed_s.linear"), linear(own, "embed_t.linear")
        for name in "memory_s", "memory_t", "log_z_s", "log_z_t":
            self.register_buffer(name, own[name].clone())
        by_class = torch.argsort(train_labels, stable=True)
        count = torch.bincount(train_labels)
        self.place = torch.empty_like(by_class)
        self.place[by_class] = torch.arange(len(by_class))
        self.end, self.count = count.cumsum(0), count

    def distance(self, student, teacher, labels, index, u):
        n = len(self.place)
        others = (n - self.count[labels])[:, None]
        drawn = (self.end[labels][:, None] + (u * others).long().minimum(others - 1)) % n
        own = self.place[index]
        s = F.normalize(self.embed_s(student.pooled))
        t = F.normalize(self.embed_t(teacher.pooled))
        loss = self.contrast(s, self.memory_t, self.log_z_s, own, drawn)
        loss = loss + self.contrast(t, self.memory_s, self.log_z_t, own, drawn)
        self.seen = own, s.detach(), t.detach()
        return self.alpha * loss

    @torch.no_grad()
    def after_step(self):
        own, s, t = self.seen
        for bank, v in (self.memory_s, s), (self.memory_t, t):
            bank[own] = F.normalize(self.bank_momentum * bank[own] + (1 - self.bank_momentum) * v)

    def contrast(self, anchors, bank, log_z, own, drawn):
        scores = anchors @ bank.T / self.temperature
        positive, negative = scores.gather(1, own[:, None]), scores.gather(1, drawn)
        n, k = len(bank), drawn.shape[1]
        with torch.no_grad():
            first = torch.cat([positive, negative], 1).logsumexp((0, 1)) + math.log(n / (len(own) * (k + 1)))
            log_z.copy_(torch.where(log_z.isnan(), first, log_z))
        c, epsilon = k / n, 1e-7
        log_noise = math.log(c + epsilon)
        real = F.softplus(log_noise + log_z - positive).sum()
        noise = (F.softplus(negative - log_z - log_noise) + log_noise - math.log(c)).sum()
        return (real + noise) / len(own)


class ReviewKD(Method):
    maps = True

    def __init__(self, hyper, own, train_labels):
        super().__init__(hyper, own, train_labels)
        count = sum(name.endswith("conv1.0.weight") for name in own)
        self.blocks = nn.ModuleList(Fusion(own, f"abf{i}.") for i in range(count))

    def distance(self, student, teacher, labels, index, u):
        stages = len(self.blocks) - 1
        maps = [post for post, _ in student.maps[-stages:]] + [student.pooled[:, :, None, None]]
        targets = [before for _, before in teacher.maps[-stages:]] + [teacher.pooled[:, :, None, None]]
        loss, residual = 0, None
        for block, x, target in zip(self.blocks, reversed(maps), reversed(targets)):
            fused, residual = block(x, residual, target.shape[2:])
            loss = loss + hierarchical(fused - target)
        return self.alpha * loss


class Fusion(nn.Module):
    def __init__(self, own, prefix):
        super().__init__()
        self.conv1, self.conv2 = conv_bn(own, prefix + "conv1."), conv_bn(own, prefix + "conv2.")
        self.attention = conv(own, prefix + "att_conv.0") if prefix + "att_conv.0.weight" in own else None

    def forward(self, x, residual, size):
        x = self.conv1(x)
        if self.attention is not None:
            y = F.interpolate(residual, x.shape[2:])
            z = self.attention(torch.cat([x, y], 1)).sigmoid()
            x = x * z[:, :1] + y * z[:, 1:]
        x = F.interpolate(x, size)
        return self.conv2(x), x


class DHKD(Method):
    def distance(self, student, teacher, labels, index, u):
        half = ((student.aux_logits - teacher.logits) / (2 * self.temperature)).abs()
        log_cosh = half + torch.log1p(torch.expm1(-2 * half) / 2)
        return self.alpha * self.temperature**2 / len(half) * log_cosh.sum()


classes = {"ce": CE, "kd": KD, "dkd": DKD, "dist": DIST, "rkd": RKD, "crd": CRD, "reviewkd": ReviewKD, "dhkd": DHKD}


def aligned(g1, g2):
    """The sum of both gradients, each taken as one vector; in conflict g2 loses its component against g1."""
    flat1, flat2 = (torch.cat([g.flatten() for g in gradients]) for gradients in (g1, g2))
    scale = 1 + (-flat1.dot(flat2)).clamp(min=0) / flat1.dot(flat1)
    return [a * scale + b for a, b in zip(g1, g2)]


def kl(student, teacher, t):
    logs = F.log_softmax(student / t, 1), F.log_softmax(teacher / t, 1)
    return t**2 * F.kl_div(*logs, log_target=True, reduction="batchmean")


def pearson(x, y, dim):
    x, y = (v - v.mean(dim, keepdim=True) for v in (x, y))
    return (x * y).sum(dim) / (x.norm(dim=dim) * y.norm(dim=dim) + 1e-8)


def relations(x):
    """Distances, relative to their mean, and the cosines of all triangles."""
    difference = x[None] - x[:, None]
    q = difference.square().sum(2)
    d = q.clamp(min=1e-12).sqrt() * (1 - torch.eye(len(x)))
    unit = F.normalize(difference, dim=2)
    return d / (d.sum() / (len(x) * (len(x) - 1))), unit @ unit.transpose(1, 2)


def hierarchical(difference):
    loss, weight, total = difference.square().mean(), 1, 1
    for side in 4, 2, 1:
        if side < difference.shape[2]:
            weight /= 2
            total += weight
            loss = loss + weight * F.adaptive_avg_pool2d(difference, side).square().mean()
    return loss / total


def linear(own, name):
    return with_values(nn.Linear(*reversed(own[name + ".weight"].shape)), own, name)


def conv(own, name):
    out, inputs, kernel, _ = own[name + ".weight"].shape
    return with_values(nn.Conv2d(inputs, out, kernel, padding=kernel // 2, bias=name + ".bias" in own), own, name)


def conv_bn(own, prefix):
    first = conv(own, prefix + "0")
    return nn.Sequential(first, with_values(nn.BatchNorm2d(first.out_channels), own, prefix + "1"))


def with_values(module, own, name):
    state = {key: own[f"{name}.{key}"] for key in module.state_dict() if key != "num_batches_tracked"}
    module.load_state_dict(state, strict=False)
    return module
