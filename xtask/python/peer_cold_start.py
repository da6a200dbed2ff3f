"""What somebody would write to classify one video: `peer_cold_start.py CHECKPOINT VIDEO THREADS`.

Prints one JSON object with the logits and the most likely label.
"""

import json
import sys

import av
import torch
from transformers import VideoMAEForVideoClassification, VideoMAEImageProcessor


def main():
    checkpoint, video, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = VideoMAEForVideoClassification.from_pretrained(checkpoint).eval()
    processor = VideoMAEImageProcessor.from_pretrained(checkpoint)
    with av.open(video) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    count = model.config.num_frames
    clip = [frames[index * len(frames) // count] for index in range(count)]
    with torch.inference_mode():
        logits = model(**processor(clip, return_tensors="pt")).logits[0]
    label = model.config.id2label[int(logits.argmax())]
    print(json.dumps({"label": label, "logits": logits.tolist()}), flush=True)


if __name__ == "__main__":
    main()
