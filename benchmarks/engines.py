"""Inference engines alone, on tensors that are ready in memory: ONNX Runtime, OpenVINO and PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rounds import Way
from darkroom.core.parallel import cores

VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")


def onnx_runtime(file: Path, ready: np.ndarray, batches: int) -> Way:
    """ONNX Runtime with its own settings and a thread for each core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda: [session.run(None, {"pixels": ready}) for _ in range(batches)]


def openvino(file: Path, kind: str, ready: np.ndarray, batches: int) -> Way:
    """OpenVINO, set up for throughput, in f32 or bf16."""
    from openvino import Core

    core = Core()
    settings = {"INFERENCE_PRECISION_HINT": kind, "PERFORMANCE_HINT": "THROUGHPUT"}
    compiled = core.compile_model(core.read_model(file), "CPU", settings)
    return lambda: [compiled([ready]) for _ in range(batches)]


def pytorch(kind: str, ready: np.ndarray, batches: int) -> Way:
    """PyTorch's VGG16 up to its last pool, averaged, with random weights, in float32 or bfloat16.

    `channels_last` is the layout that oneDNN computes in.
    """
    import torch

    torch.set_num_threads(cores())
    dtype = getattr(torch, kind)
    layers: list[Any] = []
    channels = 3
    for layer in VGG16:
        if isinstance(layer, int):
            layers += [torch.nn.Conv2d(channels, layer, 3, padding=1), torch.nn.ReLU()]
            channels = layer
        else:
            layers.append(torch.nn.MaxPool2d(2))
    model = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    model = model.eval().to(dtype).to(memory_format=torch.channels_last)
    pixels = torch.from_numpy(ready.transpose(0, 3, 1, 2)).to(dtype).contiguous(memory_format=torch.channels_last)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(batches):
                model(pixels)

    return run
