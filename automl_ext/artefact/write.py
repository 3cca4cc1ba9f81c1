"""A found network as files that load without this package, each checked against the searched network when written.

`model.py` and `model.safetensors`: plain source that needs torch and safetensors; it restates the traced operations of
the network, whoever wrote it, with the sizes of its layers. `model.pt2`, `model.onnx`: see program.py.
`recipe.json`: what was found, what the inputs are, and which of the files were left out and why.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from automl_ext.artefact.agreement import ExportError, Pattern
from automl_ext.artefact.program import LEFT_OUT, write_programs
from automl_ext.artefact.source import Moments, source
from automl_ext.artefact.tensors import tensors

__all__ = ["write_files"]

SCALE = "normalised before they go in, in all files: (x / 255 - mean) / std"


def write_files(network: nn.Module, wanted: Pattern, facts: Mapping[str, Any], moments: Moments, folder: Path) -> None:
    """Write the files of `network` (eval mode, on the CPU), each compared with `wanted`. facts: for `recipe.json`.

    moments: mean and std that inputs are normalised with. What cannot be written is left out, with the reason in the
    recipe. Raises ExportError, one line, where neither source nor program can be written, and where a file is not
    what was searched; then nothing is written.
    """
    with tempfile.TemporaryDirectory() as name:
        draft = Path(name)
        files = {"model.py": _write_source(network, wanted, moments, draft), **write_programs(network, wanted, draft)}
        if all(text.startswith(LEFT_OUT) for text in files.values()):
            raise ExportError("; ".join(f"{file} {text}" for file, text in files.items()))
        shape = ["n", *wanted.images.shape[1:]]
        inputs = {"shape": shape, "dtype": "float32", "scale": SCALE, "mean": moments[0], "std": moments[1]}
        text = json.dumps({"files": files, "input": inputs, **facts}, indent=1)
        (draft / "recipe.json").write_text(text + "\n", encoding="utf-8")
        for file in draft.iterdir():
            if file.is_file():
                shutil.move(file, folder / file.name)


def _write_source(network: nn.Module, wanted: Pattern, moments: Moments, folder: Path) -> str:
    """Write `model.py` and `model.safetensors`, import the first and compare. What it is, or why it is left out."""
    try:
        text = source(network, tuple(wanted.images.shape[1:]), moments)
    except ExportError as error:
        return f"{LEFT_OUT}{error}"
    stored = tensors(network)
    (folder / "model.py").write_text(text, encoding="utf-8")
    save_file({name: stored[name] for name in sorted(stored)}, folder / "model.safetensors")
    found = importlib.util.spec_from_file_location("exported_model", folder / "model.py")
    if found is None or found.loader is None:
        raise ExportError("model.py cannot be imported")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    wanted.check("model.py", module.load())
    return "plain torch source beside model.safetensors: from model import load; network = load()"
