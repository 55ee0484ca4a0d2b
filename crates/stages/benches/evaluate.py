"""The other side of `just bench evaluate`: pytorch-fid and SciPy on the same images, weights and Gaussians.

    evaluate.py weights OUT.pth            weights from a formula, by pytorch-fid's parameter names
    evaluate.py features FOLDER WEIGHTS OUT.npy THREADS
    evaluate.py frechet FIRST.npz SECOND.npz

Prints one JSON object.
"""

import json
import pathlib
import sys
import time
import warnings
import zlib

import numpy as np


def formula(name, shape):
    """splitmix64 of the element's number after the name's checksum, as in the parity cases."""
    count = int(np.prod(shape, dtype=np.int64)) if len(shape) else 1
    with np.errstate(over="ignore"):
        state = np.uint64(zlib.crc32(name.encode())) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    u = (state >> np.uint64(11)).astype(np.float64) / 2.0**53
    if name.endswith("running_var"):
        values = 0.5 + u
    elif name.endswith(("running_mean", "bias")):
        values = (u - 0.5) * 0.2
    elif name.endswith("bn.weight"):
        values = 0.8 + 0.4 * u
    else:
        values = (2 * u - 1) * np.sqrt(6 / np.prod(shape[1:]))
    return values.astype(np.float32).reshape(shape)


def weights(out):
    import torch
    from pytorch_fid import inception

    inception.load_state_dict_from_url = lambda *_, **__: {}
    load = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = lambda *_, **__: None
    network = inception.fid_inception_v3()
    torch.nn.Module.load_state_dict = load
    state = {
        name: torch.from_numpy(formula(name, tuple(tensor.shape)))
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(state, out)
    return {"parameters": len(state)}


def features(folder, weights, out, threads):
    import torch
    from pytorch_fid import fid_score, inception

    torch.set_num_threads(int(threads))
    state = torch.load(weights, weights_only=True)

    inception.load_state_dict_from_url = lambda *_, **__: state
    model = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]])
    files = sorted(pathlib.Path(folder).glob("*.png"))
    begin = time.perf_counter()
    found = fid_score.get_activations(files, model, batch_size=50, dims=2048, device="cpu", num_workers=1)
    seconds = time.perf_counter() - begin
    np.save(out, found)
    return {"seconds": seconds, "torch": torch.__version__}


def frechet(first, second):
    import scipy
    from pytorch_fid import fid_score

    first, second = np.load(first), np.load(second)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = fid_score.calculate_frechet_distance(first["mu"], first["sigma"], second["mu"], second["sigma"])
    return {"seconds": time.perf_counter() - begin, "value": float(value), "scipy": scipy.__version__}


command, arguments = sys.argv[1], sys.argv[2:]
answer = {
    "weights": lambda: weights(arguments[0]),
    "features": lambda: features(*arguments[:4]),
    "frechet": lambda: frechet(*arguments[:2]),
}[command]()
print(json.dumps(answer))
