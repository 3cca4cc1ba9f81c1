"""A found network as programs that need none of its code: `model.pt2` (torch.export) and `model.onnx` (extra `onnx`).

Both take what `model.py` takes, normalised images (n, c, h, w) of any n, and give the same outputs. ONNX is made from
the torch.export program; torch's older exporter is some ten times as fast, but deprecated and to be removed.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from automl_ext.artefact.agreement import ExportError, Pattern

__all__ = ["LEFT_OUT", "exported", "lacking", "read_onnx", "write_programs"]

EXTRA = ("onnx", "onnxscript", "onnxruntime")
LEFT_OUT = "left out: "
"""Begins what is said of a file that cannot be written."""


def write_programs(network: nn.Module, wanted: Pattern, folder: Path) -> dict[str, str]:
    """`model.pt2` and `model.onnx` of `network` (eval mode, on the CPU) into `folder`, compared with `wanted`.

    What each is, by file, or why it is left out. Raises ExportError, one line, where a file is not what was searched.
    """
    try:
        program = exported(network, wanted.images)
    except ExportError as error:
        return dict.fromkeys(("model.pt2", "model.onnx"), f"{LEFT_OUT}{error}")
    wanted.check("model.pt2", _save_program(program, folder / "model.pt2"))
    files = {"model.pt2": 'a program of torch.export: network = torch.export.load("model.pt2").module()'}
    return {**files, "model.onnx": _write_onnx(program, wanted, folder / "model.onnx")}


def _write_onnx(program: ExportedProgram, wanted: Pattern, file: Path) -> str:
    missing = lacking()
    if missing:
        return f"{LEFT_OUT}needs the extra onnx, {', '.join(missing)} not installed: pip install 'automl-ext[onnx]'"
    try:
        _save_onnx(program, wanted.images, file)
    except ExportError as error:
        return f"{LEFT_OUT}{error}"
    wanted.check_outputs(file.name, read_onnx(file), relative=1e-4)
    return "ONNX: images (n, c, h, w) -> logits (n, classes, ...)"


def exported(network: nn.Module, images: Tensor) -> ExportedProgram:
    """`network` (eval mode, on the CPU) as a program for any number of images. images: at least two (n, c, h, w).

    Raises ExportError, one line, where torch.export cannot follow the network.
    """
    try:
        with _quiet():
            return torch.export.export(network, (images,), dynamic_shapes=({0: Dim("n", min=1)},))
    except Exception as error:  # torch.export raises a dozen kinds
        raise ExportError(f"torch.export cannot follow the network: {_line(error)}") from error


def _save_program(program: ExportedProgram, file: Path) -> nn.Module:
    """Write `program` and read it back, as a module."""
    with _quiet():
        torch.export.save(program, file)
        return torch.export.load(file).module()


def lacking() -> list[str]:
    """What of the extra `onnx` is not installed."""
    return [name for name in EXTRA if importlib.util.find_spec(name) is None]


def _save_onnx(program: ExportedProgram, images: Tensor, file: Path) -> None:
    """Write `program` as ONNX, input `images` (n, c, h, w), output `logits`. images: some to try it on.

    Raises ExportError, one line, for an operation that ONNX lacks.
    """
    try:
        with _quiet():
            made = torch.onnx.export(
                program, (images,), dynamo=True, input_names=["images"], output_names=["logits"], verbose=False
            )
    except Exception as error:  # torch.onnx raises a dozen kinds
        raise ExportError(f"torch.onnx cannot write the network: {_line(error)}") from error
    if made is None:
        raise ExportError("torch.onnx cannot write the network")
    made.save(file)


def read_onnx(file: Path) -> Callable[[Tensor], Tensor]:
    """The ONNX file as a function of images (n, c, h, w), by onnxruntime on one thread."""
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(session.run(["logits"], {"images": images.numpy()})[0]))

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporters say of their own insides: deprecations, packages that they do not find."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200]
