"""What the workers read, one folder each: the checkpoint, its inputs, the reference, and exported models."""

import av
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import VideoMAEImageProcessor

from . import case as cases


def checkpoint(case, out):
    """A folder as `save_pretrained` writes it, with the processor of the published checkpoints."""
    case.build().save_pretrained(out)
    VideoMAEImageProcessor(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]).save_pretrained(out)


def inputs(case, out):
    """`pixel_values` (clips, T, C, H, W) to compare on, `calibration` alike, and the mask of pre-training."""
    processor = VideoMAEImageProcessor.from_pretrained(case.folder / "checkpoint")
    tensors = {
        "pixel_values": pixels(processor, case, cases.EVALUATED),
        "calibration": pixels(processor, case, cases.CALIBRATION),
    }
    mask = case.mask(1)
    if mask is not None:
        tensors["bool_masked_pos"] = mask[0].numpy().astype(np.uint8)
    save_file(tensors, out / "inputs.safetensors")


def pixels(processor, case, names):
    """Clips of fixtures/clips, frames spread evenly."""
    clips = []
    for name in names:
        with av.open(cases.CLIPS / f"{name}.mp4") as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        chosen = [frames[index * len(frames) // case.frames] for index in range(case.frames)]
        clips.append(processor(chosen, return_tensors="np")["pixel_values"][0])
    return np.stack(clips).astype(np.float32)


def reference(case, out):
    """`logits` (clips, …) by PyTorch in single precision, clip by clip."""
    model = case.load()
    with torch.inference_mode():
        rows = [case.logits(model, torch.from_numpy(clip[None])) for clip in clips(case, "pixel_values")]
    save_file({"logits": torch.cat(rows).numpy()}, out / "logits.safetensors")


def onnx(case, out):
    """An ONNX file of the classifier for one shape. ONNX Runtime optimises it when it loads it."""
    torch.onnx.export(
        cases.Logits(case.load()),
        (batch(case),),
        out / "model.onnx",
        dynamo=True,
        external_data=True,
        input_names=["pixel_values"],
        output_names=["logits"],
    )


def openvino(case, out):
    """OpenVINO's own form of the classifier, weights in single precision."""
    import openvino as ov

    example = batch(case)
    model = ov.convert_model(cases.Logits(case.load()), example_input=example, input=list(example.shape))
    ov.save_model(model, out / "model.xml", compress_to_fp16=False)


def openvino_int8(case, out):
    """The same, quantised after training by NNCF as its documentation does for transformers."""
    import nncf
    import openvino as ov

    calibration = clips(case, "calibration")
    batches = [np.resize(np.roll(calibration, -i, 0), (case.batch, *calibration.shape[1:])) for i in range(len(calibration))]
    model = nncf.quantize(
        ov.Core().read_model(case.folder / "openvino" / "model.xml"),
        nncf.Dataset(batches),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(batches),
    )
    ov.save_model(model, out / "model.xml", compress_to_fp16=False)


def clips(case, name):
    """One of the arrays of `inputs`."""
    return load_file(case.folder / "inputs" / "inputs.safetensors")[name]


def batch(case):
    """The first clips, as many as a forward takes."""
    found = clips(case, "pixel_values")
    return torch.from_numpy(np.resize(found, (case.batch, *found.shape[1:])))


STEPS = {
    "checkpoint": checkpoint,
    "inputs": inputs,
    "reference": reference,
    "onnx": onnx,
    "openvino": openvino,
    "openvino-int8": openvino_int8,
}
