# Writes torch/: small PyTorch files in the layouts and types that are read. Needs PyTorch and NumPy.
import argparse
import os

import numpy
import torch

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch")


def values(*shape):
    """-1 to 1 in steps of 1/8, which all floating-point types hold."""
    n = int(numpy.prod(shape))
    return ((torch.arange(n) % 17 - 8) / 8).reshape(shape)


def state(prefix="", dtype=torch.float32):
    s = torch.nn.Sequential()
    s.add_module("conv1", torch.nn.Conv2d(3, 4, 3, bias=False))
    s.add_module("bn1", torch.nn.BatchNorm2d(4))
    s.add_module("fc", torch.nn.Linear(4, 10))
    s = s.to(dtype)
    with torch.no_grad():
        for t in s.state_dict().values():
            if t.is_floating_point():
                t.copy_(values(*t.shape))
    if prefix:
        outer = torch.nn.Module()
        outer.add_module(prefix, s)
        s = outer
    return s.state_dict(), s


def save(name, value, legacy=False):
    torch.save(value, os.path.join(here, name + ".pth"), _use_new_zipfile_serialization=not legacy)


plain, net = state()
optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
for p in net.parameters():
    p.grad = torch.ones_like(p)
optimizer.step()
scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [150, 180])
plain, _ = state()
args = argparse.Namespace(epochs=240, lr_decay_epochs=[150, 180, 210], gamma=None)

save("bare", plain)
save("bare_legacy", plain, legacy=True)
save("crd", {"epoch": 240, "model": plain, "accuracy": torch.tensor(74.92), "optimizer": optimizer.state_dict()})
save("crd_legacy", {"epoch": 3, "model": state("module")[0], "best_acc": torch.tensor([1.5])}, legacy=True)
both = torch.nn.Module()
both.add_module("student", state()[1])
both.add_module("teacher", state()[1])
outer = torch.nn.Module()
outer.add_module("module", both)
save("mdistiller_state", {"epoch": 7, "model": outer.state_dict(), "best_acc": numpy.float32(0.5)})
save("mdistiller_student", {"model": plain})
save("numpy_double", {"epoch": numpy.int64(9), "model": plain, "best_acc": numpy.float64(0.1)})
save("last", {"opt": args, "model": plain, "optimizer": optimizer.state_dict()})
save("torchdistill", {"model": plain, "best_value": 0.7944, "args": args, "lr_scheduler": scheduler.state_dict(),
                      "optimizer": optimizer.state_dict()})
save("lightning", {"state_dict": state("model")[0], "epoch": 1, "global_step": 2, "pytorch-lightning_version": "2"})
save("half", state(dtype=torch.float16)[0])
save("bfloat16_legacy", state(dtype=torch.bfloat16)[0], legacy=True)
save("double", state(dtype=torch.float64)[0])
save("parameters", dict(net.named_parameters()))
shared = values(10, 4)
save("views", {
    "transposed": shared.t(), "row": shared[3], "cell": shared[1, 2], "same": shared, "steps": shared[::3, 1::2],
    "repeated": shared[0].expand(2, 4), "empty": shared[:0], "channels_last": values(2, 3, 4, 5).to(
        memory_format=torch.channels_last),
})
save("integers", {str(t): torch.tensor([0, 1, 100]).to(t) for t in
                  (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)})
# What is refused.
save("bad_module", net)
save("bad_complex", {"a": values(2).to(torch.complex64)})
save("bad_protocol4", plain)
torch.save(plain, os.path.join(here, "bad_protocol4.pth"), pickle_protocol=4)
torch.jit.save(torch.jit.script(net), os.path.join(here, "bad_script.pth"))
