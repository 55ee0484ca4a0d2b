"""Small data sets in the exact layout of the real ones, and what Pillow makes of their images.

Prints a JSON table: data set -> [source, [[key, class or null, pixels in hexadecimal], ...]], pixels after a centre
crop and Lanczos to 16 x 16.
"""
import gzip, io, json, os, pickle, random, struct, sys, tarfile, zipfile, zlib
import numpy as np
from PIL import Image
import pyarrow as pa, pyarrow.parquet as pq

root = sys.argv[1]
rng = np.random.default_rng(0)
table = {}


def picture(width, height):
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.BICUBIC)


def encode(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def jpeg(width=60, height=50):
    return encode(picture(width, height), "JPEG", quality=int(rng.integers(30, 95)), subsampling=int(rng.integers(0, 3)))


def png(width=40, height=40):
    return encode(picture(width, height), "PNG")


def small(image):
    image = image.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((16, 16), Image.LANCZOS).tobytes().hex()


def seen(data):
    return small(Image.open(io.BytesIO(data)))


def put(path, data):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def pack(path, files):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if path.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files:
                archive.writestr(name, data, zipfile.ZIP_STORED if name.endswith(".png") else None)
    else:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz" if path.endswith("gz") else "w") as archive:
            for name, data in files:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        with open(path, "wb") as file:
            file.write(out.getvalue())


def note(name, source, rows):
    table[name] = [os.path.join(root, source), rows]


# CelebA: splits 0, 1, 2; attributes 1 and -1.
images = [(f"img_align_celeba/{n:06}.jpg", jpeg(178, 218)) for n in range(1, 7)]
pack("celeba/img_align_celeba.zip", [("img_align_celeba/", b"")] + images)
put("celeba/list_eval_partition.txt", "".join(f"{n:06}.jpg {s}\n" for n, s in zip(range(1, 7), [0, 0, 0, 1, 2, 2])).encode())
male, smile = [1, -1, 1, -1, 1, -1], [1, 1, -1, -1, 1, 1]
lines = "".join(f"{n + 1:06}.jpg {male[n]:2} {smile[n]:2} -1 \n" for n in range(6))
put("celeba/list_attr_celeba.txt", f"6\nMale Smiling Young \n{lines}".encode())
note("celeba", "celeba/img_align_celeba.zip", [[k, None, seen(d)] for k, d in images])
train = [[k, ["not Male, ", "Male, "][m > 0] + ["not Smiling", "Smiling"][s > 0], seen(d)] for (k, d), m, s in zip(images, male, smile)]
note("celeba-attributes", "celeba", train[:3])
# The same as PNG files, for which the lists keep the endings of the JPEG files.
for (k, d) in images:
    put(f"celeba-png/{k[:-4]}.png", encode(Image.open(io.BytesIO(d)), "PNG"))
for name in ("list_eval_partition", "list_attr_celeba"):
    put(f"celeba-png/{name}.txt", open(os.path.join(root, f"celeba/{name}.txt"), "rb").read())
note("celeba-png", "celeba-png", [[k.split("/")[1][:-4] + ".png", c, p] for k, c, p in train[:3]])

# AFHQv2
files = [(f"{split}/{kind}/flickr_{kind}_{n:06}.png", png()) for split in ("train", "test") for kind in ("cat", "dog", "wild") for n in range(2)]
pack("afhq/afhq_v2.zip", [("train/", b"")] + files)
for name, data in files:
    put("afhq-folder/" + name, data)
dogs = [[k, "dog", seen(d)] for k, d in files if k.startswith("train/dog")]
note("afhqv2-dog", "afhq/afhq_v2.zip", dogs)
note("afhqv2-folder", "afhq-folder", sorted([k, k.split("/")[1], seen(d)] for k, d in files))

# FFHQ thumbnails, an EDM zip, tar archives
files = [(f"{n // 2 * 1000:05}/{n:05}.png", png(32, 32)) for n in range(4)]
for name, data in files:
    put("thumbnails128x128/" + name, data)
note("ffhq", "thumbnails128x128", [[k, None, seen(d)] for k, d in files])
edm = [(f"{n // 2:05}/img{n:08}.png", png(32, 32)) for n in range(4)]
labels = json.dumps({"labels": [[name, n % 3] for n, (name, _) in enumerate(edm)]}).encode()
pack("edm.zip", edm + [("dataset.json", labels)])
note("edm", "edm.zip", [[k, str(n % 3), seen(d)] for n, (k, d) in enumerate(edm)])
mixed = [("b/two.jpg", jpeg()), ("a/one.png", png()), ("a/notes.txt", b"no image"), ("b/three.webp", encode(picture(30, 30), "WEBP", lossless=True))]
expected = [[k, k[0], seen(d)] for k, d in mixed if not k.endswith("txt")]
for name in ("plain.tar", "packed.tar.gz"):
    pack(name, mixed)
    note(name, name, expected)

# CIFAR, in the pickles that Python 2 wrote and in binary
def batch(count, classes, fine):
    planes = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
    return planes, [int(c) for c in rng.integers(0, classes, count)], [f"img_{n}.png" for n in range(count)]


def text(value):
    return b"U" + bytes([len(value)]) + value.encode()


def integers(values):
    return b"](" + b"".join(b"K" + bytes([v]) for v in values) + b"e"


def texts(values):
    return b"](" + b"".join(text(v) + b"q\x07" for v in values) + b"e"


def array(planes):
    data = planes.tobytes()
    kind = b"cnumpy\ndtype\n" + text("u1") + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"M" + struct.pack("<H", planes.shape[0]) + b"M" + struct.pack("<H", planes.shape[1]) + b"\x86"
    made = b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nK\x00\x85" + text("b") + b"\x87R"
    return made + b"(K\x01" + shape + kind + b"\x89T" + struct.pack("<I", len(data)) + data + b"tb"


def py2(entries):
    return b"\x80\x02}q\x01(" + b"".join(text(k) + v for k, v in entries) + b"u."


def rows(file, planes, labels, names, classes):
    shown = [small(Image.fromarray(p.reshape(3, 32, 32).transpose(1, 2, 0))) for p in planes]
    return [[f"{file}/{n}", classes[l], s] for n, l, s in zip(names, labels, shown)]


ten = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
python, binary, wanted, wanted_binary = [("cifar-10-batches-py/batches.meta", py2([("label_names", texts(ten))]))], [], [], []
for file in ["data_batch_4", "data_batch_1", "test_batch", "data_batch_2", "data_batch_3", "data_batch_5"]:
    planes, labels, names = batch(3, 10, False)
    body = py2([("batch_label", text("a batch")), ("labels", integers(labels)), ("data", array(planes)), ("filenames", texts(names))])
    assert np.array_equal(pickle.loads(body, encoding="latin1")["data"], planes)
    python.append((f"cifar-10-batches-py/{file}", body))
    binary.append((f"cifar-10-batches-bin/{file}.bin", b"".join(bytes([l]) + p.tobytes() for l, p in zip(labels, planes))))
    if file != "test_batch":
        wanted += rows(file, planes, labels, names, ten)
        wanted_binary += rows(file + ".bin", planes, labels, range(3), ten)
pack("cifar-10-python.tar.gz", python)
note("cifar10", "cifar-10-python.tar.gz", sorted(wanted, key=lambda row: row[0].split("/")[0]))
pack("cifar-10-binary.tar.gz", binary + [("cifar-10-batches-bin/batches.meta.txt", "\n".join(ten).encode() + b"\n\n")])
note("cifar10-binary", "cifar-10-binary.tar.gz", sorted(wanted_binary, key=lambda row: row[0].split("/")[0]))
hundred = [f"class {n}" for n in range(100)]
planes, fine, names = batch(4, 100, True)
body = py2([("filenames", texts(names)), ("fine_labels", integers(fine)), ("coarse_labels", integers([1] * 4)), ("data", array(planes))])
pack("cifar-100-python.tar.gz", [("cifar-100-python/meta", py2([("fine_label_names", texts(hundred))])), ("cifar-100-python/train", body), ("cifar-100-python/test", body)])
note("cifar100", "cifar-100-python.tar.gz", rows("train", planes, fine, names, hundred))
pack("cifar-100-binary.tar.gz", [("cifar-100-binary/fine_label_names.txt", "\n".join(hundred).encode()), ("cifar-100-binary/train.bin", b"".join(bytes([1, l]) + p.tobytes() for l, p in zip(fine, planes)))])
note("cifar100-binary", "cifar-100-binary.tar.gz", rows("train.bin", planes, fine, range(4), hundred))

# MNIST
pixels, digits = rng.integers(0, 256, (3, 28, 28), dtype=np.uint8), [7, 0, 3]
for part in ("train", "t10k"):
    put(f"mnist/{part}-images-idx3-ubyte.gz", gzip.compress(struct.pack(">IIII", 0x803, 3, 28, 28) + pixels.tobytes()))
    put(f"mnist/{part}-labels-idx1-ubyte.gz", gzip.compress(struct.pack(">II", 0x801, 3) + bytes(digits)))
note("mnist", "mnist", [[f"train/{n:05}", str(d), small(Image.fromarray(p))] for n, (p, d) in enumerate(zip(pixels, digits))])

# Flowers-102: classes from 1 on, in a variable of doubles stored as bytes, compressed
def element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def mat(variables):
    out = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    for name, values, kind, form in variables:
        body = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", 1, len(values))) + element(1, name.encode())
        packed = zlib.compress(element(14, body + element(kind, struct.pack(f"<{len(values)}{form}", *values))))
        out += struct.pack("<II", 15, len(packed)) + packed
    return out


flowers = [(f"jpg/image_{n:05}.jpg", jpeg()) for n in (3, 1, 4, 2)]
classes = {1: 77, 2: 77, 3: 1, 4: 102}
pack("flowers/102flowers.tgz", [("jpg/", b"")][:0] + flowers)
put("flowers/imagelabels.mat", mat([("labels", [classes[n] for n in (1, 2, 3, 4)], 2, "B")]))
put("flowers/setid.mat", mat([("trnid", [1, 3], 4, "H"), ("valid", [2], 4, "H"), ("tstid", [4.0], 9, "d")]))
number = lambda key: int(key[-9:-4])
note("flowers102", "flowers/102flowers.tgz", [[k, str(classes[number(k)]), seen(d)] for k, d in flowers])
note("flowers102-train", "flowers", [[k, str(classes[number(k)]), seen(d)] for k, d in flowers if number(k) in (1, 3)])

# Hugging Face: two files of a split, groups of two rows, names in the schema's description
kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
about = {"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
wanted = []
for part in range(2):
    data = [jpeg() for _ in range(5)]
    labels = [int(l) for l in rng.integers(0, 2, 5)]
    # In the second file two rows have one name.
    paths = ["one.jpg" if part == 1 and n in (0, 3) else None for n in range(5)]
    names = ["one.jpg", 1, 2, "one.jpg#3", 4] if part == 1 else range(5)
    columns = {"image": pa.array([{"bytes": d, "path": p} for d, p in zip(data, paths)], kind), "label": pa.array(labels, pa.int64())}
    stem = f"train-{part:05}-of-00002"
    os.makedirs(os.path.join(root, "hub/data"), exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(about)}), os.path.join(root, f"hub/data/{stem}.parquet"), row_group_size=2)
    wanted += [[f"{stem}/{n}", ["cat", "dog"][l], seen(d)] for n, d, l in zip(names, data, labels)]
note("hub", "hub", wanted)

# LSUN: the WebP files go into a database on the other side
scenes = [(f"{n:040x}", encode(picture(48, 36), "WEBP", lossless=True)) for n in range(3)]
for key, data in scenes:
    put(f"lsun/{key}", data)
note("lsun", "lsun", [[k, None, seen(d)] for k, d in scenes])
print(json.dumps(table))
