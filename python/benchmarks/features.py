"""Features of Inception-v3 in PyTorch, with torchvision's network: images a second at 299×299, random weights."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import Device, set_tf32, timed

BATCH = 64


def main() -> None:
    """Measures it, where torchvision is installed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cpu")
    options.add_argument("--images", type=int, default=512)
    options.add_argument("--report", type=Path)
    arguments = options.parse_args()
    row: dict[str, Any] = {"extractor": "inception-v3", "precision": "float32"}
    try:
        from torchvision.models import inception_v3
    except ImportError as error:
        row["note"] = f"torchvision is missing: {error}"
    else:
        device = Device(arguments.device)
        torch.backends.cudnn.benchmark = True
        set_tf32(False)
        network = inception_v3(weights=None, init_weights=False, aux_logits=False).to(device.device).eval()
        network.fc = torch.nn.Identity()
        images = torch.randint(0, 256, (arguments.images, 3, 64, 64), dtype=torch.uint8)

        @torch.no_grad()
        def extract() -> None:
            for chunk in images.split(BATCH):
                resized = F.interpolate(chunk.to(device.device).float(), (299, 299), mode="bilinear")
                network(resized / 127.5 - 1).cpu()

        seconds, _, _ = timed(extract, device, 0.5, warm_up=1)
        row["images_per_second"] = arguments.images / seconds
        row["note"] = "torchvision, NCHW"
    print(row)
    if arguments.report:
        arguments.report.write_text(json.dumps([row]))


if __name__ == "__main__":
    main()
