"""One case: a model of a published size, and a folder that holds everything made from it."""

import argparse
from pathlib import Path

import torch
import transformers

from fixtures import building, hashing, published

ROOT = Path(__file__).parents[3]
CLIPS = ROOT / "fixtures" / "clips"
# What models are compared on, and what OpenVINO's int8 takes its ranges from: clips of the same kind, never the same.
EVALUATED = ["left", "grow", "clockwise", "bounce"]
CALIBRATION = ["up", "shrink", "anticlockwise", "still"]
SIZES = {"small": published.SMALL, "base": {}}
# As many as Kinetics-400.
NUM_LABELS = 400


def arguments(description):
    """The options that every script has, and the parser, for more."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--kind", choices=["classification", "pretraining"], required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    return parser


class Case:
    """The case that options describe."""

    def __init__(self, options):
        self.size, self.kind, self.frames = options.size, options.kind, options.frames
        self.batch, self.folder = options.batch, options.folder

    def config(self):
        """The configuration; the pooling of the published models of each kind."""
        fields = SIZES[self.size] | {"num_frames": self.frames}
        fields["use_mean_pooling"] = self.kind == "classification"
        return building.make_config(fields, num_labels=NUM_LABELS)

    def build(self):
        """The model with hashed weights."""
        return building.build(self.kind, self.config())

    def load(self, dtype=torch.float32):
        """The model from its checkpoint, with the attention that transformers takes by default."""
        with torch.no_grad():
            return building.CLASSES[self.kind].from_pretrained(self.folder / "checkpoint", dtype=dtype).eval()

    def mask(self, batch):
        """Nine tokens in ten hidden, rounded as published; equal for all clips. None for classification."""
        if self.kind == "classification":
            return None
        tubelets, positions = building.tokens(self.config())
        masked = int(published.MASK_RATIO * positions)
        return building.mask(hashing.tube_mask(1, tubelets, positions, masked)).repeat(batch, 1)

    def logits(self, model, pixel_values):
        """What is compared, as an array of single precision."""
        masks = {} if self.kind == "classification" else {"bool_masked_pos": self.mask(len(pixel_values))}
        # Pre-training also computes its loss, as it does in ours.
        return model(pixel_values, **masks).logits.float()


class Logits(torch.nn.Module):
    """A classifier that returns an array instead of a dictionary, for exporters."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        return self.model(pixel_values).logits


def quiet(threads):
    """No bars and no advice; as many threads as the others have."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(threads)
