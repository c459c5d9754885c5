"""Runs the exported files that a list in JSON on stdin names, and prints their outputs, in JSON, in the same order."""

import json
import pathlib
import sys

from safetensors.numpy import load_file


def run_onnx(file, images):
    import onnx
    import onnxruntime

    onnx.checker.check_model(file["path"], full_check=True)
    session = onnxruntime.InferenceSession(file["path"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images})))


def run_state_dict(file, images):
    import torch

    sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "bench"))
    import networks

    network = networks.create(file["network"], file["classes"], file["aux_head"], file["head"])
    network.load_state_dict({name: torch.tensor(value) for name, value in load_file(file["path"]).items()}, strict=True)
    with torch.no_grad():
        logits, aux_logits, *_ = network.eval()(torch.tensor(images))
    return {"logits": logits} if aux_logits is None else {"logits": logits, "aux_logits": aux_logits}


def run(file):
    images = load_file(file["inputs"])[file["input"]][: file["batch"]]
    outputs = (run_onnx if file["path"].endswith(".onnx") else run_state_dict)(file, images)
    return {name: output.flatten().tolist() for name, output in outputs.items()}


json.dump([run(file) for file in json.load(sys.stdin)], sys.stdout)
