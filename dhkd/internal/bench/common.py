"""What both peers of make bench share: the job, the fixture, the conversation.

A peer is started with a job, a line of JSON. It takes the initial weights from the fixture, runs two steps of each method
on the fixture's batch, and says hello with their losses. Then each line "run 5" is answered by the milliseconds of so
many steps of each method, the methods taking turns.
"""

import json
import platform
import sys
import time

import numpy

VERIFIED = 2  # steps


def read_safetensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    types = {"F32": numpy.float32, "I32": numpy.int32, "U8": numpy.uint8}
    header.pop("__metadata__", None)
    return {
        name: numpy.frombuffer(data[slice(*t["data_offsets"])], types[t["dtype"]]).reshape(t["shape"])
        for name, t in header.items()
    }


def part(fixture, prefix):
    """The tensors whose names start with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in fixture.items() if name.startswith(prefix)}


def draw(rng, job, verified):
    """A step's random choices: which images, where they are cut out, which are mirrored. In a step that is verified, and
    where the teacher's outputs are given, the images are the first ones, as they are."""
    n, pad = job["batch"], job["pad"]
    if verified is not None or job["given"]:
        return numpy.arange(n), numpy.full(n, pad), numpy.full(n, pad), numpy.zeros(n, bool)
    return (
        rng.integers(job["images"], size=n), rng.integers(2 * pad + 1, size=n), rng.integers(2 * pad + 1, size=n),
        rng.integers(2, size=n).astype(bool),
    )  # fmt: skip


def pixels(rng, job, fixture):
    """The training set, uint8 [images, size, size, 3]: the batch that is verified, and noise."""
    images = rng.integers(256, size=(job["images"], job["size"], job["size"], 3), dtype=numpy.uint8)
    images[: job["batch"]] = fixture["images"]
    return images


def gigaflops(product, side=1536):
    """The speed of a product of two square matrices of that side."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return 2 * side**3 / min(times) / 1e9


def serve(start):
    """start(job, fixture) gives the versions, the number of threads, the speed of a matrix product, and the steps:
    functions to a float by the methods' names, of the number of the step to verify, or None."""
    try:
        job = json.loads(sys.argv[1])
        hello, steps = start(job, read_safetensors(job["fixture"]))
        hello["versions"]["Python"] = platform.python_version()
        hello["compile_seconds"], hello["losses"] = {}, {}
        for name, step in steps.items():
            begin = time.perf_counter()
            first = step(0)
            hello["compile_seconds"][name] = time.perf_counter() - begin
            hello["losses"][name] = [first] + [step(i) for i in range(1, VERIFIED)]
        hello["peak_rss_mib"] = peak_rss()
        forget_peak()
        say(hello)
        for line in sys.stdin:
            command, count = line.split()
            assert command == "run", line
            say(run(steps, int(count)))
    except Exception as e:
        say({"error": f"{type(e).__name__}: {' '.join(str(e).split())[:400]}"})
        raise


def run(steps, count):
    for step in steps.values():
        step(None)  # after a pause
    milliseconds = {name: [] for name in steps}
    processor = time.process_time()
    for _ in range(count):
        for name, step in steps.items():
            start = time.perf_counter()
            step(None)
            milliseconds[name].append(1000 * (time.perf_counter() - start))
    return {
        "ms": milliseconds,
        "cpu_ms": 1000 * (time.process_time() - processor),
        "peak_rss_mib": peak_rss(),
    }


def peak_rss():
    """The most memory that this process had since forget_peak, in MiB."""
    try:
        with open("/proc/self/status") as f:
            return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))
    except OSError:
        return 0  # not Linux


def forget_peak():
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        pass


def say(what):
    print(json.dumps(what), flush=True)
