"""Steps that train with the program: killed and resumed, memory, waits, one seed."""

from __future__ import annotations

import json
import re
import shutil
import struct
import tempfile
import time
from pathlib import Path

from check import Check
from process import Ended, end
from report import Finding, Table

PIPELINE = Path(__file__).resolve().parent / "check.toml"
"""Every stage, small, with augmentation, dropout and checkpoints every few seconds."""

LIKE_WEIGHTS = 1e-2
"""What two trainings on a GPU may differ by, whose gradients are summed in another order, unless they do more among themselves."""


def resume(check: Check, finding: Finding) -> None:
    """One training undisturbed, one killed on the way and run again: the networks beside each other."""
    images = check.size.train_images
    words = check.pipeline(PIPELINE, [*check.size.network_settings, f"stages.train.duration_images={images}"])
    with Homes() as homes:
        undisturbed, killed, again = (homes.new() for _ in range(3))
        run = check.patchwork(undisturbed, *words)
        if not run.is_success:
            finding.fail(f"the undisturbed pipeline {run.cause()}")
            return
        finding.say(f"undisturbed: {run.seconds:.1f} s for {images} images, sampled and evaluated")
        losses(check, undisturbed, finding)
        half = kill_after_checkpoint(check, killed, [*words, "--until", "train"])
        if half is None:
            finding.fail("no checkpoint was written before the training ended")
        run = check.patchwork(killed, *words, "--until", "train")
        if not run.is_success:
            finding.fail(f"the killed training, run again, {run.cause()}")
            return
        first = "SELECT MIN(step) AS first FROM metrics WHERE name = 'loss' AND run = 'check-2'"
        asked = check.patchwork(killed, "query", first, "--format", "json")
        resumed = json.loads(asked.output)[0]["first"] if asked.is_success else None
        finding.facts["first_loss_after_kill"] = resumed
        finding.say(f"killed after {half} s, run again for {run.seconds:.1f} s: its first logged loss is at {resumed} images")
        # How much two undisturbed runs differ shows what of a difference is the device's.
        noise = None
        if check.is_cuda and check.left() > run.seconds * 1.5:
            check.patchwork(again, *words, "--until", "train")
            noise = compare(finding, "undisturbed against undisturbed", undisturbed, again)
        difference = compare(finding, "killed and resumed against undisturbed", undisturbed, killed)
        most = max(LIKE_WEIGHTS, 3 * (noise or 0.0)) if check.is_cuda else 0.0
        if difference is None or difference > most:
            finding.fail(f"a resumed training may differ by {most:.1e}")


def copies(check: Check, finding: Finding) -> None:
    """One training as ever beside one whose images are copied to the device during its steps."""
    if not check.is_cuda:
        finding.skip("only on CUDA")
        return
    images = check.size.train_images // 2
    seconds: list[float] = []
    with Homes() as homes:
        both = [homes.new(), homes.new()]
        for home, paths in zip(both, ("[]", '["copy-stream"]'), strict=True):
            settings = [*check.size.network_settings, f"stages.train.duration_images={images}"]
            settings.append(f"stages.train.fast_paths={paths}")
            run = check.patchwork(home, *check.pipeline(PIPELINE, settings), "--until", "train")
            if not run.is_success:
                finding.fail(f"the training {run.cause()}")
                return
            seconds.append(run.seconds)
        difference = compare(finding, "copied beside its steps against as ever", *both)
    finding.facts["seconds"] = seconds
    finding.say(f"{seconds[0]:.1f} s as ever, {seconds[1]:.1f} s with copies beside the steps")
    if difference is None or difference > 3 * LIKE_WEIGHTS:
        finding.fail(f"it may differ by {3 * LIKE_WEIGHTS:.0e}")


def losses(check: Check, home: Path, finding: Finding) -> None:
    """Whether the loss falls."""
    query = "SELECT step, value FROM metrics WHERE name = 'loss' ORDER BY step"
    asked = check.patchwork(home, "query", query, "--format", "json")
    values = [row["value"] for row in json.loads(asked.output)] if asked.is_success else []
    if len(values) < 4:
        finding.say(f"{len(values)} losses were logged: too few to say whether they fall")
        return
    quarter = max(1, len(values) // 4)
    first, last = (sum(part) / len(part) for part in (values[:quarter], values[-quarter:]))
    finding.facts["loss"] = {"first": first, "last": last}
    text = f"loss: {first:.4g} in the first quarter, {last:.4g} in the last"
    if last < first:
        finding.say(text)
    else:
        finding.fail(text)


def kill_after_checkpoint(check: Check, home: Path, words: list[str]) -> float | None:
    """Starts the pipeline and kills all of it once a training has a checkpoint; the seconds until then."""
    process = check.runner.start([str(check.bundle / "bin/patchwork"), *words], {"PATCHWORK_HOME": str(home)})
    begin = time.monotonic()
    seconds = None
    while process.poll() is None and check.left() > 0:
        if list(home.glob("work/*/state/*checkpoint*")) or list(home.glob("work/*/state/checkpoint*/*")):
            seconds = round(time.monotonic() - begin, 1)
            break
        time.sleep(0.02)
    end(process, at_once=True)
    check.runner.wait(process, [*words, "(killed)"], 1)
    return seconds


def compare(finding: Finding, name: str, one: Path, other: Path) -> float | None:
    """The difference of two trainings' networks, relative to the first's norm."""
    files = [list(home.glob("artifacts/train/*/network.safetensors")) for home in (one, other)]
    if not all(files):
        finding.fail(f"{name}: a network is missing")
        return None
    is_same, difference = differing(files[0][0], files[1][0])
    finding.facts[name] = {"same_bytes": is_same, "relative_difference": difference}
    finding.say(f"{name}: " + ("the same bytes" if is_same else f"weights differ by {difference:.2e} of their norm"))
    return difference


def differing(one: Path, other: Path) -> tuple[bool, float]:
    """Whether two files are the same, and the difference of their float32 tensors over the norm of the first's."""
    first, second = one.read_bytes(), other.read_bytes()
    if first == second:
        return True, 0.0
    ours, theirs = float32(first), float32(second)
    distance = sum((a - b) ** 2 for a, b in zip(ours, theirs, strict=True)) ** 0.5
    return False, distance / max(sum(value**2 for value in ours) ** 0.5, 1e-30)


def float32(data: bytes) -> tuple[float, ...]:
    """The values of a safetensors file, all of float32."""
    (length,) = struct.unpack_from("<Q", data)
    values = memoryview(data)[8 + length :]
    return struct.unpack(f"<{len(values) // 4}f", values)


def one_seed(check: Check, finding: Finding) -> None:
    """A network's images of the same seeds on the CPU and on the device, in float32."""
    images = max(check.size.train_images // 8, 300)
    settings = [*check.size.network_settings, f"stages.train.duration_images={images}"]
    with Homes() as homes:
        home = homes.new()
        run = check.patchwork(home, *check.pipeline(PIPELINE, settings), "--until", "train")
        networks = list(home.glob("artifacts/train/*"))
        if not run.is_success or not networks:
            finding.fail(f"the training {run.cause()}")
            return
        pictures: list[list[bytes]] = []
        for device in ("cpu", check.device):
            out = home / f"images-{device.replace(':', '-')}-{len(pictures)}"
            words = ["sample", str(networks[0]), "--out", str(out), "--seeds", "0-7", "--steps", "18"]
            words += ["--set", f"device={device}", "--set", "precision=float32", "--export", "folder"]
            run = check.patchwork(home, *words)
            files = sorted(path for path in out.rglob("*.png") if path.name != "grid.png")
            if not run.is_success or not files:
                finding.fail(f"sampling on {device} {run.cause()}")
                return
            pictures.append([pixels(file) for file in files])
        ours, theirs = (b"".join(images) for images in pictures)
        differences = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
        largest, off = max(differences), sum(difference > 0 for difference in differences)
        finding.facts |= {"largest": largest, "off": off, "values": len(differences)}
        text = f"8 seeds: the largest difference is {largest} of 255; {off} of {len(differences)} values differ"
        if largest <= 2:
            finding.say(text)
        else:
            finding.fail(text)


def pixels(path: Path) -> bytes:
    """The pixels of a PNG file of eight bits a channel without interlacing."""
    import zlib

    data = path.read_bytes()
    place, packed, width, height, channels = 8, b"", 0, 0, 3
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, _, color = struct.unpack_from(">IIBB", body)
            channels = {0: 1, 2: 3}[color]
        elif kind == b"IDAT":
            packed += body
        place += 12 + length
    lines, stride = zlib.decompress(packed), width * channels
    before, out = bytearray(stride), bytearray()
    for row in range(height):
        start = row * (stride + 1)
        before = unfiltered(lines[start], bytearray(lines[start + 1 : start + 1 + stride]), before, channels)
        out += before
    return bytes(out)


def unfiltered(kind: int, line: bytearray, above: bytearray, channels: int) -> bytearray:
    """A line of a PNG file from its filtered bytes (the standard's section 9)."""
    for index in range(len(line)):
        left = line[index - channels] if index >= channels else 0
        corner = above[index - channels] if index >= channels else 0
        up = above[index]
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        elif kind == 4:
            estimate = left + up - corner
            by_distance = [abs(estimate - value) for value in (left, up, corner)]
            guess = (left, up, corner)[by_distance.index(min(by_distance))]
        else:
            guess = 0
        line[index] = (line[index] + guess) & 255
    return line


def memory(check: Check, finding: Finding) -> None:
    """The memory of a step by what the processor says of one, and what a batch that cannot fit is answered."""
    program = check.program("bench-train")
    if program is not None:
        peaks: dict[int, float] = {}
        for batch in (1, 3):
            options = ["--network", check.size.network, "--precision", "bfloat16", "--memory", str(batch)]
            run = check.run([program, *options], 15)
            found = re.search(r"(\d+) MiB at most", run.output)
            if found:
                peaks[batch] = float(found[1])
        if len(peaks) == 2:
            image = (peaks[3] - peaks[1]) / 2
            batch = check.size.batch
            estimate = peaks[1] + image * (batch - 1)
            finding.facts["estimate_mib"] = {"image": image, "batch": batch, "step": estimate}
            finding.say(
                f"by the processor's memory an image takes {image:.0f} MiB in bfloat16, a step of {batch} about "
                f"{estimate / 1024:.1f} GiB; the step `train-bfloat16` has what the device gave"
            )
    if not check.size.too_large:
        finding.say("no batch is too large for a processor's memory here: not tried")
        return
    settings = [f"stages.train.batch_size={check.size.too_large}", "stages.train.network.model_channels=256"]
    settings += ["stages.prepare.resolution=64", "stages.train.retries=0", "stages.train.network.num_blocks=4"]
    settings += ["stages.train.network.attn_resolutions=[16]"]
    with Homes() as homes:
        run = check.patchwork(homes.new(), *check.pipeline(PIPELINE, settings), "--until", "train")
        finding.say(run.last_lines(8))
        if run.is_success or "do not fit into the memory of the device" not in run.output:
            finding.fail("a batch that cannot fit was not refused in these words")


def waits(check: Check, finding: Finding) -> None:
    """Calls of CUDA's runtime in a step of training, by the difference of a long and a short one."""
    counter = check.bundle / "bin/count-waits.so"
    if not check.is_cuda or not counter.is_file():
        finding.skip("only on CUDA, with the counter of the bundle")
        return
    counts: list[dict[str, int]] = []
    steps: list[int] = []
    for images in (3_000, 9_000):
        settings = [f"stages.train.duration_images={images}", "stages.train.checkpoint_minutes=10"]
        with Homes() as homes:
            home = homes.new()
            prepared = check.patchwork(home, *check.pipeline(PIPELINE, settings), "--until", "prepare")
            counted = home / "counts"
            run = check.patchwork(
                home,
                *check.pipeline(PIPELINE, settings),
                "--until",
                "train",
                variables={"LD_PRELOAD": str(counter), "PATCHWORK_COUNTS": str(counted)},
            )
            if not prepared.is_success or not run.is_success or not counted.exists():
                finding.fail(f"the training {run.cause()}")
                return
            counts.append(json.loads(counted.read_text()))
            steps.append(step_count(check, home))
    per_step = {name: (counts[1][name] - counts[0][name]) / max(steps[1] - steps[0], 1) for name in counts[1]}
    finding.facts["calls_per_step"] = per_step
    finding.tables.append(Table(["call", "a step"], [[name, value] for name, value in per_step.items()]))
    waiting = sum(value for name, value in per_step.items() if "Synchronize" in name)
    finding.say(f"the host waits {waiting:.2f} times a step")


def step_count(check: Check, home: Path) -> int:
    """How many steps a training took: images are counted by the mean multiplier of a step."""
    asked = check.patchwork(home, "query", "SELECT MAX(step) AS images FROM metrics", "--format", "json")
    images = float(json.loads(asked.output)[0]["images"])
    return round(images / int(32 * 1.9))


def group(check: Check, finding: Finding) -> None:
    """A training by a group of one rank, where this version has groups."""
    with Homes() as homes:
        words = check.pipeline(PIPELINE, ["stages.train.duration_images=1000", "stages.train.ranks=1"])
        run: Ended = check.patchwork(homes.new(), *words, "--until", "train")
        if "ranks" in run.output and not run.is_success:
            finding.skip("this version has no groups of ranks")
        elif not run.is_success:
            finding.fail(f"a group of one rank {run.cause()}")
        else:
            finding.say(f"a group of one rank trained in {run.seconds:.1f} s")


class Homes:
    """Home folders that are gone at the end."""

    def __enter__(self) -> Homes:
        self.folders: list[Path] = []
        return self

    def new(self) -> Path:
        """Another one."""
        self.folders.append(Path(tempfile.mkdtemp(prefix="patchwork-home.")))
        return self.folders[-1]

    def __exit__(self, *_: object) -> None:
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
