"""Times PyTorch as `gpu-check bench` asks: torch_worker.py eager|compiled DEVICE, one process each.

The first line on standard output is `{"ready": "PyTorch 2.9.0, …"}`, or `{"unavailable": "why"}` and the end. Then every
line on standard input is a request and has an answer:

    {"prepare": TASK}   {"ready": ""} or {"unavailable": "why"}
    {"run": N}          {"seconds": of all N together}
    "logits"            {"logits": [of the last forward]}

TASK is what `src/bench/task.rs` describes. Everything is in bf16, by `F.linear`, by scaled dot-product attention, or by the
classifier of transformers, where that is installed, else by an equal module below. `compiled` is
`torch.compile(mode="max-autotune")`.
"""

import json
import math
import os
import struct
import sys
import time


def main():
    mode, device = sys.argv[1:]
    # Libraries print what they like; the answers keep standard output to themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(reply):
        print(json.dumps(reply), file=answers, flush=True)

    try:
        worker = Worker(mode, device)
    except Exception as reason:
        answer({"unavailable": because(reason)})
        return
    answer({"ready": worker.name})
    for line in sys.stdin:
        request = json.loads(line)
        if request == "logits":
            answer({"logits": worker.logits.flatten().tolist()})
        elif "run" in request:
            answer({"seconds": worker.time(request["run"])})
        else:
            try:
                worker.prepare(request["prepare"])
            except Exception as reason:
                answer({"unavailable": because(reason)})
            else:
                answer({"ready": ""})


def because(reason):
    """The first line of an error, for a table."""
    text = str(reason).strip().splitlines()
    return f"{type(reason).__name__}: {text[0] if text else 'no message'}"


class Worker:
    """Holds one task at a time."""

    def __init__(self, mode, device):
        import torch

        self.torch, self.mode, self.device = torch, mode, torch.device(device)
        self.is_cuda = self.device.type == "cuda"
        if self.is_cuda and not torch.cuda.is_available():
            raise RuntimeError(f"PyTorch {torch.__version__} finds no GPU")
        try:
            import transformers

            self.transformers, library = transformers, f"transformers {transformers.__version__}"
        except ImportError:
            self.transformers, library = None, "a module of our own, as there is no transformers"
        self.name = f"PyTorch {torch.__version__}, {library}"
        self.once = self.logits = None
        self.checkpoint = self.model = None
        torch.manual_seed(0)

    def prepare(self, task):
        """Makes what the task needs, and runs it until it is as fast as it will be."""
        self.once = self.logits = None
        if self.is_cuda:
            self.torch.cuda.empty_cache()
        self.once = getattr(self, task.pop("task"))(**task)
        # Of torch.compile the first compiles, the second captures, the third replays.
        self.time(4)

    def time(self, times):
        """Seconds of so many repetitions, and of the wait for them."""
        with self.torch.inference_mode():
            self.synchronize()
            start = time.perf_counter()
            for _ in range(times):
                self.once()
            self.synchronize()
            return time.perf_counter() - start

    def synchronize(self):
        if self.is_cuda:
            self.torch.cuda.synchronize(self.device)

    def random(self, *shape):
        """Of random numbers, since zeros run faster."""
        return self.torch.randn(*shape, device=self.device, dtype=self.torch.bfloat16)

    def linear(self, rows, inputs, outputs, epilogue):
        x, weight, bias = self.random(rows, inputs), self.random(outputs, inputs), self.random(outputs)
        return lambda: self.torch.nn.functional.linear(x, weight, bias)

    def attention(self, batch, tokens, num_heads, head_dim):
        q, k, v = (self.random(batch, num_heads, tokens, head_dim) for _ in range(3))
        return lambda: self.torch.nn.functional.scaled_dot_product_attention(q, k, v)

    def forward(self, checkpoint, pixel_values, shape, resident):
        torch = self.torch
        pixels = torch.from_file(pixel_values, size=math.prod(shape), dtype=torch.float32).view(shape)
        if resident:
            pixels = pixels.to(self.device, torch.bfloat16)
        model = self.load(checkpoint)
        if self.mode == "compiled":
            # Each batch is compiled for itself, as one that knows its shapes is the faster.
            torch.compiler.reset()
            model = torch.compile(model, mode="max-autotune", dynamic=False)

        def once():
            # What is on the device already is not copied again.
            logits = model(pixels.to(self.device).to(torch.bfloat16))
            self.logits = logits.float().cpu()

        return once

    def load(self, checkpoint):
        """The classifier, from pixels to logits. One checkpoint is kept."""
        if self.checkpoint != checkpoint:
            self.model = self.checkpoint = None
            model = self.of_transformers(checkpoint) if self.transformers else self.of_our_own(checkpoint)
            self.model = model.to(self.device, self.torch.bfloat16).eval()
            self.checkpoint = checkpoint
        return self.model

    def of_transformers(self, checkpoint):
        cls = self.transformers.VideoMAEForVideoClassification
        model = cls.from_pretrained(checkpoint, attn_implementation="sdpa", local_files_only=True)

        class Logits(self.torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, pixel_values):
                return self.model(pixel_values).logits

        return Logits()

    def of_our_own(self, checkpoint):
        with open(os.path.join(checkpoint, "config.json")) as file:
            config = json.load(file)
        return plain_model(self.torch, config, read_safetensors(self.torch, checkpoint))


def read_safetensors(torch, checkpoint):
    """The tensors of `model.safetensors`, f32: a length, a header of JSON, and the numbers."""
    with open(os.path.join(checkpoint, "model.safetensors"), "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, content = json.loads(file.read(length)), bytearray(file.read())
    header.pop("__metadata__", None)

    def tensor(info):
        start, end = info["data_offsets"]
        return torch.frombuffer(content[start:end], dtype=torch.float32).reshape(info["shape"])

    return {name: tensor(info) for name, info in header.items()}


def plain_model(torch, config, tensors):
    """The classifier of transformers with mean pooling, as a module without it; q, k and v in one product."""
    functional = torch.nn.functional
    width, num_heads, eps = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]

    class Layer(torch.nn.Module):
        def __init__(self, index):
            super().__init__()
            prefix = f"videomae.encoder.layer.{index}."
            attention = prefix + "attention.attention."
            weights = [tensors[f"{attention}{name}.weight"] for name in ("query", "key", "value")]
            q_bias, v_bias = tensors[attention + "q_bias"], tensors[attention + "v_bias"]
            self.qkv = linear(torch.cat(weights), torch.cat([q_bias, torch.zeros_like(q_bias), v_bias]))
            self.projection = of(prefix + "attention.output.dense")
            self.mlp1, self.mlp2 = of(prefix + "intermediate.dense"), of(prefix + "output.dense")
            self.before = norm(prefix + "layernorm_before", eps)
            self.after = norm(prefix + "layernorm_after", eps)

        def forward(self, x):
            batch, tokens, _ = x.shape
            qkv = self.qkv(self.before(x)).view(batch, tokens, 3, num_heads, width // num_heads)
            context = functional.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
            x = x + self.projection(context.transpose(1, 2).reshape(batch, tokens, width))
            return x + self.mlp2(functional.gelu(self.mlp1(self.after(x))))

    def linear(weight, bias):
        made = torch.nn.Linear(weight.shape[1], weight.shape[0])
        made.load_state_dict({"weight": weight, "bias": bias})
        return made

    def of(name):
        return linear(tensors[name + ".weight"], tensors[name + ".bias"])

    def norm(name, epsilon):
        made = torch.nn.LayerNorm(width, epsilon)
        made.load_state_dict({"weight": tensors[name + ".weight"], "bias": tensors[name + ".bias"]})
        return made

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            name = "videomae.embeddings.patch_embeddings.projection"
            weight = tensors[name + ".weight"]
            self.embed = torch.nn.Conv3d(weight.shape[1], width, weight.shape[2:], stride=weight.shape[2:])
            self.embed.load_state_dict({"weight": weight, "bias": tensors[name + ".bias"]})
            self.layers = torch.nn.ModuleList(Layer(i) for i in range(config["num_hidden_layers"]))
            # The default of PyTorch, which the reference has there.
            self.norm = norm("fc_norm", 1e-5)
            self.classifier = of("classifier")
            image, patch = config["image_size"], config["patch_size"]
            tokens = config["num_frames"] // config["tubelet_size"] * (image // patch) ** 2
            self.register_buffer("positions", sinusoids(torch, tokens, width))

        def forward(self, pixel_values):
            # (B, T, C, H, W) to (B, C, T, H, W), then tokens in the order time, height, width.
            x = self.embed(pixel_values.transpose(1, 2)).flatten(2).transpose(1, 2) + self.positions
            for layer in self.layers:
                x = layer(x)
            return self.classifier(self.norm(x.mean(1)))

    return Classifier()


def sinusoids(torch, tokens, width):
    """Sines in even columns, cosines in odd ones (Vaswani et al. 2017, section 3.5)."""
    position = torch.arange(tokens, dtype=torch.float64)[:, None]
    pair = torch.div(torch.arange(width), 2, rounding_mode="floor")
    angle = position / 10000 ** (2 * pair / width)
    return torch.where(torch.arange(width) % 2 == 0, angle.sin(), angle.cos()).float()[None]


if __name__ == "__main__":
    main()
