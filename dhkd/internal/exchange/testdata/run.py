"""Runs the exported files that a list in JSON on stdin names, and prints their outputs, in JSON, in the same order."""

import json
import pathlib
import sys

import onnx
import onnxruntime
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "bench"))
import networks  # noqa: E402


def run_onnx(file, images):
    onnx.checker.check_model(file["path"], full_check=True)
    session = onnxruntime.InferenceSession(file["path"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images.numpy()})))


def run_state_dict(file, images):
    network = networks.create(file["network"], file["classes"], file["aux_head"])
    network.load_state_dict(load_file(file["path"]), strict=True)
    with torch.no_grad():
        logits, aux_logits = network.eval()(images)
    return {"logits": logits} if aux_logits is None else {"logits": logits, "aux_logits": aux_logits}


def run(file):
    images = load_file(file["inputs"])[file["input"]][: file["batch"]]
    outputs = (run_onnx if file["path"].endswith(".onnx") else run_state_dict)(file, images)
    return {name: output.flatten().tolist() for name, output in outputs.items()}


json.dump([run(file) for file in json.load(sys.stdin)], sys.stdout)
