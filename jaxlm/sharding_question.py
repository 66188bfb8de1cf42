"""What `jaxlm inspect --sharding` asks about: layout, shapes and vocabulary of a config, or of a run as it began."""

import math
import sys
from pathlib import Path

from jaxlm import mesh as meshes
from jaxlm.checkpoint_folder import CheckpointFolder
from jaxlm.data import objectives
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.tokenizer_config import HuggingFaceConfig, SavedConfig
from jaxlm.errors import UserError
from jaxlm.mesh_misfit import Trained, check_shapes
from jaxlm.parts import as_saved
from jaxlm.run_config import RunConfig
from jaxlm.run_folder import RunFolder, read_json
from jaxlm.training import layout as layouts
from jaxlm.training.layout import Layout


def layout_of(cfg: RunConfig, folder: Path | None, devices: int | None, overrides: list[str], usual: int) -> Layout:
    """That of a run's layout.json, unless another is asked for; else what the config says, on `devices`.

    "auto" is shown as "sharded", which it is on accelerators; `usual` devices where nothing says how many.
    """
    layouts.refuse_strict(cfg.step.deterministic, "--sharding")
    told = devices is not None or any(one.startswith(("mesh.", "step.compile")) for one in overrides)
    if folder is not None and not told and (path := RunFolder(folder).layout).exists():
        found = Layout.parse(read_json(path))
        count = found.devices or found.mesh.devices
        if count is not None:
            return found._replace(why=f"{path.name} says so")
    mesh, auto = cfg.mesh, cfg.mesh.layout == "auto"
    count = devices or mesh.devices or usual
    if mesh.layout in ("axes", "single"):
        count = math.prod(meshes.sizes(mesh, sys.maxsize).values())
        if devices not in (None, count):
            raise UserError(
                f"--devices {devices}, but mesh.layout={mesh.layout!r} is of {count}: leave it out, or set the mesh"
            )
    else:
        mesh = mesh.model_copy(update={"devices": count} | ({"layout": "sharded"} if auto else {}))
    layout = layouts.told(mesh, cfg.step.compile, count)
    check_shapes(cfg, meshes.sizes(mesh, count))
    why = "mesh.layout='auto' is 'sharded' on accelerators; on CPU it is measured" if auto else layout.why
    return layout._replace(why=why)


def vocabulary_of(cfg: RunConfig, folder: Path | None) -> int:
    """Ids that the model has: of the run's tokenizer, or at most as many as the config's will have."""
    if cfg.model.vocab is not None:
        return cfg.model.vocab
    if folder is not None and RunFolder(folder).tokenizer.exists():
        known = tokenizers.load(RunFolder(folder).tokenizer)
    elif isinstance(cfg.data.tokenizer, SavedConfig | HuggingFaceConfig):
        known = tokenizers.load_saved(cfg.data.tokenizer)
    else:
        known = Trained.of(cfg.data.tokenizer)
    return objectives.vocabulary(cfg.data.objective, cfg.data.length, known)


def shaped(cfg: RunConfig, folder: Path | None, vocab: int) -> RunConfig:
    """`cfg` with the shapes that it leaves open as in the newest checkpoint of the run."""
    return cfg if folder is None else as_saved(cfg, CheckpointFolder(RunFolder(folder).checkpoints).arrays(), vocab)
