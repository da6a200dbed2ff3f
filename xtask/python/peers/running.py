"""The peers by name: each function loads a model and returns what runs it on an array, giving an array of logits.

One that cannot run here raises `Unavailable` with the reason.
"""

import numpy as np
import torch


class Unavailable(Exception):
    """Why a peer cannot run on this machine."""


def pytorch_f32(case, threads):
    """transformers as it comes, attention by PyTorch's fused op."""
    return _pytorch(case, case.load())


def pytorch_bf16(case, threads):
    """The same with weights and activations in bfloat16."""
    return _pytorch(case, case.load(torch.bfloat16))


def pytorch_compile(case, threads):
    """The same through torch.compile, weights frozen into the code it makes."""
    import torch._inductor.config

    torch._inductor.config.freezing = True
    return _pytorch(case, torch.compile(case.load()))


def _pytorch(case, model):
    dtype = next(model.parameters()).dtype

    @torch.inference_mode()
    def run(pixel_values):
        return case.logits(model, torch.from_numpy(pixel_values).to(dtype)).numpy()

    return run


def onnxruntime_f32(case, threads):
    """ONNX Runtime with every optimisation it has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        case.folder / "onnx" / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    return lambda pixel_values: session.run(["logits"], {"pixel_values": pixel_values})[0]


def openvino_f32(case, threads):
    """OpenVINO in single precision."""
    return _openvino(case, threads, "openvino", "f32")


def openvino_bf16(case, threads):
    """OpenVINO in bfloat16, where the processor has it."""
    import openvino as ov

    # Without the instructions OpenVINO takes the hint and computes in f32 all the same.
    if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unavailable("OpenVINO computes in f32 on a processor without bf16 instructions")
    return _openvino(case, threads, "openvino", "bf16")


def openvino_int8(case, threads):
    """What NNCF made; layers that it left alone in the precision that OpenVINO itself would take."""
    import openvino as ov

    has_bf16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return _openvino(case, threads, "openvino-int8", "bf16" if has_bf16 else "f32")


def _openvino(case, threads, folder, precision):
    import openvino as ov

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = ov.Core().compile_model(case.folder / folder / "model.xml", "CPU", settings)
    request = compiled.create_infer_request()
    return lambda pixel_values: np.array(request.infer({0: pixel_values})[0])


PEERS = {
    "pytorch-f32": pytorch_f32,
    "pytorch-compile": pytorch_compile,
    "pytorch-bf16": pytorch_bf16,
    "onnxruntime-f32": onnxruntime_f32,
    "openvino-f32": openvino_f32,
    "openvino-bf16": openvino_bf16,
    "openvino-int8": openvino_int8,
}
