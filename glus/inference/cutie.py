"""Cutie (PyPI `rf-cutie`) carries the masks of the key frame on: Table 6's tracker from outside.

One memory for each object: two sentences may mean the same one, which Cutie would give to one of them. Frames are as
its authors evaluate: 480 px on the short side, every fifth frame remembered, five of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.functional import to_tensor

from glus.errors import InputError
from glus.inference.encoder import VideoEncoder
from glus.inference.passes import PropagationSettings, Tracking
from glus.model.sam2 import resize_logits
from glus.weights.tensor_files import read_tensors

LONGEST, SHORTEST = 480, 96  # of the short side, pixels; Cutie reads its 30 nearest places of 16 px, which 96 px have
MEMORY = {"use_long_term": False, "mem_every": 5}
TRAINED_ONLY = "aux_computer."  # tensors of losses
SURE = 1e-6  # logits end at this probability


class CutieTracker:
    """Cutie over one pass. A blank mask stays blank.

    Args:
        network: see `build_cutie`.
        video: see there.
        settings: nothing of it concerns Cutie.
    """

    def __init__(self, network: nn.Module, video: VideoEncoder, settings: PropagationSettings) -> None:
        from cutie.inference.image_feature_store import ImageFeatureStore

        self._network, self._video = network, video
        self._store = ImageFeatureStore(network)  # a frame is encoded once for all objects
        self._objects: list[Any] = []
        self._step = 0

    def begin(self, frame: int, logits: Tensor) -> None:
        """Remembers the masks of the key frame, float [B, h, w]."""
        from cutie.inference.inference_core import InferenceCore

        image = self._image(frame)
        masks = (resize_logits(logits, *image.shape[-2:]) > 0).float()
        for mask in masks:
            core = None
            if mask.any():
                core = InferenceCore(self._network, self._network.cfg, image_feature_store=self._store)
                core.step(image, mask.unsqueeze(0), [1], idx_mask=False, delete_buffer=False)
            self._objects.append(core)
        self._end_step()

    def follow(self, frame: int) -> Tensor:
        """Mask logits of the next frame, float [B, h, w]."""
        image = self._image(frame)
        blank = torch.zeros_like(image[0])
        found = [blank if core is None else core.step(image, delete_buffer=False)[1] for core in self._objects]
        self._end_step()
        logits = torch.logit(torch.stack(found), SURE)
        return resize_logits(logits, *self._video.model.masks.logit_size)

    def _end_step(self) -> None:
        self._store.delete(self._step)
        self._step += 1

    def _image(self, frame: int) -> Tensor:
        """A frame for Cutie, float [3, h, w] from 0 to 1."""
        image = to_tensor(self._video.picture(frame)).to(self._video.model.device)
        short = min(image.shape[-2:])
        wanted = min(max(short, SHORTEST), LONGEST)
        size = [round(side * wanted / short) for side in image.shape[-2:]]
        return functional.interpolate(image.unsqueeze(0), size, mode="bilinear", antialias=True)[0]


def load_cutie(weights: Path, device: torch.device) -> Tracking:
    """Cutie with the weights of a file, as its authors publish them: tensors by name.

    Raises:
        InputError: `rf-cutie` is not installed; the file is damaged, needs unpickling, or holds another network.
    """
    network = build_cutie()
    tensors = read_tensors(weights)
    wanted = {name: value for name, value in network.state_dict().items() if not name.startswith(TRAINED_ONLY)}
    unfit = [name for name, value in wanted.items() if name not in tensors or tensors[name].shape != value.shape]
    if unfit:
        raise InputError(
            f"propagate.cutie_weights: {weights} is not Cutie's base model: {len(unfit)} of its {len(wanted)} tensors"
            f" are missing or have another shape, such as {unfit[0]}. Take cutie-base-mega.pth, which its authors"
            " publish with the releases of github.com/hkchengrex/Cutie."
        )
    network.load_state_dict({name: tensors[name] for name in wanted}, strict=False)
    return partial(CutieTracker, network.to(device))


def build_cutie() -> nn.Module:
    """Cutie's base model in evaluation mode, its weights drawn.

    Raises:
        InputError: `rf-cutie` is not installed.
    """
    try:
        import cutie
        from cutie.model.cutie import CUTIE
        from omegaconf import OmegaConf
    except ImportError as error:
        raise InputError(
            f"propagate.tracker is cutie, which needs rf-cutie ({error}). Install it beside GLUS (`pip install"
            " 'glus[cutie]'`), or choose another tracker."
        ) from error
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"cutie\.")  # an older name of torch's autocast
    folder = Path(cutie.__path__[0], "config")
    config = OmegaConf.merge(
        OmegaConf.load(folder / "eval_config.yaml"), {"model": OmegaConf.load(folder / "model" / "base.yaml")}, MEMORY
    )
    with _without_download():
        network: nn.Module = CUTIE(config)
    return network.eval().requires_grad_(False)


@contextmanager
def _without_download() -> Iterator[None]:
    """Keeps Cutie from fetching the weights of ImageNet, which its own then replace."""
    from cutie.model.utils import resnet

    kept = {name: getattr(resnet, name) for name in ("resnet18", "resnet50")}
    for name, build in kept.items():
        setattr(resnet, name, lambda pretrained, build=build, **options: build(pretrained=False, **options))
    try:
        yield
    finally:
        for name, build in kept.items():
            setattr(resnet, name, build)
