"""The demo model, what it is fed, and how it is trained."""

import math
import time

import numpy as np
import torch
from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessor

SEED = 20_261_122
IMAGE_SIZE = 32
NUM_FRAMES = 8

# What each label becomes when the picture or time is turned over. A label that is not listed stays itself;
# None: the result has no label, because a bounce has a floor below it.
REVERSED = {"left": "right", "up": "down", "clockwise": "anticlockwise", "grow": "shrink"}
MIRRORED = {"left": "right", "clockwise": "anticlockwise"}
UPSIDE_DOWN = {"up": "down", "clockwise": "anticlockwise", "bounce": None}
TRANSPOSED = {"left": "up", "right": "down", "clockwise": "anticlockwise", "bounce": None}


def both_ways(pairs):
    """With each pair a: b also b: a."""
    return {**pairs, **{b: a for a, b in pairs.items() if b is not None}}


def image_processor(**overrides):
    """The published preprocessing at the size of the demo model: resize, centre crop, ImageNet mean and std."""
    settings = {
        "size": {"shortest_edge": IMAGE_SIZE},
        "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    return VideoMAEImageProcessor(**settings, **overrides)


def sample(frames):
    """NUM_FRAMES frames at equal steps over the whole clip."""
    return frames[np.arange(NUM_FRAMES) * len(frames) // NUM_FRAMES]


def build_model(labels):
    """159 000 parameters, 0.6 MB: small enough to live in a binary, deep enough to follow a shape."""
    torch.manual_seed(SEED)
    config = VideoMAEConfig(
        image_size=IMAGE_SIZE,
        num_frames=NUM_FRAMES,
        # 4 x 4 x 4 = 64 tokens.
        patch_size=8,
        tubelet_size=2,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=128,
        # The decoder is no part of a classifier; its sizes only have to be valid.
        decoder_hidden_size=32,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=64,
        # At 0.02, meant for widths of 768, a layer this narrow barely changes its input.
        initializer_range=0.05,
        use_mean_pooling=True,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        problem_type="single_label_classification",
    )
    model = VideoMAEForVideoClassification(config)
    weight = model.videomae.embeddings.patch_embeddings.projection.weight
    weight.data.copy_(cosine_filters(*weight.shape[:4]))
    return model


def cosine_filters(count, channels, depth, side):
    """Patch filters (D, C, ts, ps, ps) to start from: smooth waves that look at the difference of two frames or at
    their sum, half of them in grey, half in random colours.

    White noise sees little of a shape as large as a patch; from it, training still was at chance after
    400 steps. From these filters, motion and contrast are plain from the first step.
    """
    random = np.random.default_rng(SEED)
    middle = np.arange(side) + 0.5
    waves = [np.cos(np.pi * middle * frequency / side) for frequency in range(side)]
    # Slow waves first.
    order = sorted(np.ndindex(side, side), key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair))
    filters = np.zeros((count, channels, depth, side, side))
    for index in range(count):
        vertical, horizontal = order[(index // 2) % (count // 4)]
        color = np.ones(channels) if index < count // 2 else random.standard_normal(channels)
        is_difference = index % 2 == 0
        time = (-1.0) ** np.arange(depth) if is_difference else np.ones(depth)
        wave = np.einsum("c,t,y,x->ctyx", color, time, waves[vertical], waves[horizontal])
        # A shape covers part of a patch, a background all of it: the flat sum of frames would drown the rest.
        strength = 0.5 if is_difference else 0.05 if vertical == horizontal == 0 else 0.25
        filters[index] = wave * strength / np.linalg.norm(wave)
    # Spread over all directions of the hidden space, as any other weight is.
    rotation, _ = np.linalg.qr(random.standard_normal((count, count)))
    return torch.from_numpy((rotation @ filters.reshape(count, -1)).reshape(filters.shape)).float()


class Clips:
    """Prepared clips (n, T, H, W, 3) u8 in label order, served as random augmented batches."""

    def __init__(self, pixels, labels, weights=None):
        """`weights`: how many times as often as others a label is drawn."""
        self.pixels = pixels
        self.labels = labels
        shares = [(weights or {}).get(labels[i % len(labels)], 1) for i in range(len(pixels))]
        self.tickets = np.repeat(np.arange(len(pixels)), shares)
        processor = image_processor()
        # As the processor fuses them: (level - 255 mean) / (255 std).
        self.mean = torch.tensor(processor.image_mean) * 255
        self.std = torch.tensor(processor.image_std) * 255
        self.turns = [
            (np.s_[::-1], self.table(REVERSED)),
            (np.s_[:, :, ::-1], self.table(MIRRORED)),
            (np.s_[:, ::-1], self.table(UPSIDE_DOWN)),
        ]
        self.transposed = self.table(TRANSPOSED)

    def table(self, pairs):
        """Label index to label index, -1 for none."""
        pairs = both_ways(pairs)
        targets = [pairs.get(label, label) for label in self.labels]
        return [-1 if target is None else self.labels.index(target) for target in targets]

    def batch(self, size, random):
        """`pixel_values` (B, T, C, H, W) and labels of random clips, turned over and recoloured at random."""
        chosen = self.tickets[random.integers(len(self.tickets), size=size)]
        clips, targets = zip(*(self.turn(self.pixels[i], i % len(self.labels), random) for i in chosen))
        # Colours carry no label: their order, sign, strength and offset may change.
        levels = torch.from_numpy(np.stack([clip[..., random.permutation(3)] for clip in clips])).float()
        shape = (size, 1, 1, 1, 1)
        gain = torch.from_numpy(random.choice([-1, 1], shape) * random.uniform(0.7, 1.15, shape)).float()
        middle = torch.from_numpy(random.uniform(107.5, 147.5, shape)).float()
        levels.sub_(127.5).mul_(gain).add_(middle).clamp_(0, 255)
        return self.normalize(levels), torch.tensor(targets)

    def turn(self, clip, label, random):
        for index, table in self.turns:
            if random.random() < 0.5 and table[label] >= 0:
                clip, label = clip[index], table[label]
        if random.random() < 0.5 and self.transposed[label] >= 0:
            clip, label = clip.swapaxes(1, 2), self.transposed[label]
        return clip, label

    def normalize(self, levels):
        """(B, T, H, W, C) levels, overwritten, to (B, T, C, H, W)."""
        return levels.sub_(self.mean).div_(self.std).permute(0, 1, 4, 2, 3)


# Peak rate and label weights of each round. After a first round nearly all errors are between circles and bounces,
# which only the order of several movements tells apart; the second round shows more of these.
ROUNDS = [
    (2e-3, {}),
    (1.5e-3, {"clockwise": 3, "anticlockwise": 3, "bounce": 3}),
]


def train(train_pixels, validation_pixels, labels, steps):
    """Trains a fresh model for `steps` steps a round."""
    model = build_model(labels)
    for index in range(len(ROUNDS)):
        model = train_round(index, model, train_pixels, validation_pixels, labels, steps)
    return model


def train_round(index, model, train_pixels, validation_pixels, labels, steps, batch_size=32):
    """One warm-up and decay of the rate. Returns the running average of the weights, which classifies better than
    the last step."""
    peak_rate, weights = ROUNDS[index]
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )
    hidden = [p for p in model.videomae.encoder.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is matrix for matrix in hidden)]
    optimizer = torch.optim.AdamW(others, lr=peak_rate, betas=(0.9, 0.98), weight_decay=0.01)
    muon = Muon(hidden)
    warmup = steps // 20

    def rate(step):
        if step < warmup:
            return step / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

    clips = Clips(train_pixels, labels, weights)
    random = np.random.default_rng([SEED, index])
    started, losses = time.monotonic(), []
    for step in range(1, steps + 1):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = peak_rate * rate(step)
        pixel_values, targets = clips.batch(batch_size, random)
        loss = model(pixel_values=pixel_values, labels=targets).loss
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        optimizer.step()
        muon.step(peak_rate * rate(step))
        average.update_parameters(model)
        losses.append(loss.item())
        if step % 100 == 0 or step == steps:
            line = f"round {index + 1}/{len(ROUNDS)}  step {step}/{steps}  loss {np.mean(losses[-100:]):.4f}"
            if step % 500 == 0 or step == steps:
                line += f"  validation accuracy {accuracy(average.module, validation_pixels, labels):.3f}"
            print(f"{line}  {time.monotonic() - started:.0f} s", flush=True)
    return average.module.eval()


class Muon:
    """Momentum whose every step is turned into the nearest orthogonal matrix (Jordan and others, 2024): all
    directions of a weight learn at the same pace, and a small budget of steps goes further than with AdamW.

    Matrices of one shape are handled in one batch and in f32; `torch.optim.Muon` takes one at a time in bf16, which
    costs more on a CPU than the forward pass of a model this small.
    """

    def __init__(self, matrices, momentum=0.95):
        by_shape = {}
        for matrix in matrices:
            by_shape.setdefault(matrix.shape, []).append(matrix)
        self.groups = [(group, torch.zeros(len(group), *shape)) for shape, group in by_shape.items()]
        self.momentum = momentum

    @torch.no_grad()
    def step(self, rate):
        for group, velocity in self.groups:
            gradient = torch.stack([matrix.grad for matrix in group])
            velocity.lerp_(gradient, 1 - self.momentum)
            # Nesterov: look one step ahead.
            update = orthogonal(gradient.lerp(velocity, self.momentum))
            # 0.2 sqrt(larger side) makes the entries as large as AdamW's, so that one rate serves both.
            update *= 0.2 * max(update.shape[1:]) ** 0.5
            for matrix, change in zip(group, update):
                matrix.mul_(1 - 0.05 * rate).sub_(change, alpha=rate)


def orthogonal(matrices):
    """About U V' of each U S V', by five rounds of a quintic iteration that drives singular values to near 1."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x


def accuracy(model, pixels, labels):
    """The share of prepared clips that the model labels right."""
    clips = Clips(pixels, labels)
    predictions = []
    model.eval()
    with torch.no_grad():
        for start in range(0, len(pixels), 50):
            levels = torch.from_numpy(pixels[start : start + 50]).float()
            predictions.append(model(pixel_values=clips.normalize(levels)).logits.argmax(-1))
    targets = torch.arange(len(pixels)) % len(labels)
    return (torch.cat(predictions) == targets).float().mean().item()
