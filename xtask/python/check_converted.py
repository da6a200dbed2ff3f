"""Loads folders that `videomae convert` wrote and compares them with the models they were converted from.

`check_converted.py DIRECTORY NAME...` takes, for each name, the folder DIRECTORY/NAME and DIRECTORY/NAME.json:

- `reference`: what was converted: a set of `fixtures/`, or a folder of this repository that transformers loads;
- `dtype`: the type asked for; null leaves the weights in the type they had;
- `labels`: the names given; null leaves those of the reference;
- `sharded`: whether several files were asked for.

Run by `cargo xtask gen-fixtures` under both generations of transformers. Any difference ends it with status 1.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
import transformers

from fixtures import batches, checkpoints, original

ROOT = Path(__file__).parents[2]
# What the models of this repository are prepared with; also what is written where there is nothing to copy.
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# The fields of a configuration that belong to the architecture; `qkv_bias` of 4 became `qv_bias` in 5.18.
FIELDS = """image_size patch_size num_channels num_frames tubelet_size hidden_size num_hidden_layers
    num_attention_heads intermediate_size hidden_act hidden_dropout_prob attention_probs_dropout_prob
    initializer_range layer_norm_eps use_mean_pooling norm_pix_loss problem_type""".split()
FIELDS.append("qkv_bias" if transformers.__version__.startswith("4.") else "qv_bias")
DECODER_FIELDS = """decoder_num_attention_heads decoder_hidden_size decoder_num_hidden_layers
    decoder_intermediate_size""".split()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="+")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    differing = 0
    for name in arguments.names:
        folder = arguments.directory / name
        case = json.loads(folder.with_name(f"{name}.json").read_text())
        differences = list(differences_of(folder, case))
        for difference in differences:
            print(f"transformers {transformers.__version__}: {name}: {difference}")
        differing += bool(differences)
    if differing:
        sys.exit(f"{differing} of {len(arguments.names)} folders differ")
    print(f"transformers {transformers.__version__}: {len(arguments.names)} converted folders are what they should be")


def differences_of(folder, case):
    """Yields what is wrong with a folder, as text."""
    kind, expected = reference(case["reference"])
    dtype = getattr(torch, case["dtype"]) if case["dtype"] else expected.dtype
    # Rounded as the file is, then both computed in single precision.
    expected = expected.to(dtype).float().eval()
    found, loading = type(expected).from_pretrained(
        folder, dtype="auto", attn_implementation="eager", output_loading_info=True
    )
    yield from (f"{what}: {sorted(keys, key=str)}" for what, keys in loading.items() if keys)
    yield from unequal("architectures", found.config.architectures, [type(expected).__name__])
    for name, parameter in found.named_parameters():
        yield from unequal(f"type of {name}", parameter.dtype, dtype)
    index = folder / "model.safetensors.index.json"
    yield from unequal("sharded", index.exists(), case["sharded"])

    fields = FIELDS + (DECODER_FIELDS if kind == "pretraining" else [])
    for field in fields:
        yield from unequal(field, getattr(found.config, field), getattr(expected.config, field))
    labels = dict(enumerate(case["labels"])) if case["labels"] else expected.config.id2label
    yield from unequal("id2label", found.config.id2label, labels)
    yield from unequal("label2id", found.config.label2id, {label: id for id, label in labels.items()})

    found = found.float().eval()
    state = found.state_dict()
    for key, tensor in expected.state_dict().items():
        if key not in state or not torch.equal(tensor, state[key]):
            yield f"{key}: other numbers"
    inputs = batches.inputs(kind, expected.config)
    with torch.no_grad():
        outputs = zip(expected(**inputs).items(), found(**inputs).values(), strict=True)
    for (key, tensor), other in outputs:
        # The same operations on the same numbers: the same bits.
        if not torch.equal(tensor, other):
            yield f"another output {key}"

    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    yield from unequal("size", dict(processor.size).get("shortest_edge"), expected.config.image_size)
    yield from unequal("image_mean", list(processor.image_mean), MEAN)
    yield from unequal("image_std", list(processor.image_std), STD)


def reference(name):
    """The kind of model that a set of fixtures, or a folder, holds, and the model itself."""
    family, _, case = name.partition("/")
    if family == checkpoints.FOLDER:
        return checkpoints.build(case)
    if family == original.FOLDER:
        kind, model = original.build(case)
        return kind, original.select_rows(model, original.CASES[case])
    model = transformers.VideoMAEForVideoClassification.from_pretrained(
        ROOT / name, dtype="auto", attn_implementation="eager"
    )
    return "classification", model


def unequal(what, found, expected):
    """Yields a line if two values differ."""
    if found != expected:
        yield f"{what}: expected {expected}, found {found}"


if __name__ == "__main__":
    main()
