"""The classes that users import: the networks together with their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from glus.media.sources import Frames
from glus.model.glus import GlusModel
from glus.selector.model import SelectorModel
from glus.selector.scoring import score_frames
from glus.weights.loading import load_model
from glus.weights.selector_loading import load_selector_model
from glus.weights.selector_saved import save_selector


class GLUS(GlusModel):
    """The model: `GLUS.from_pretrained(folder)`, then `segment_video`."""

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        dtype: str = "float32",
        device: str | torch.device = "cpu",
        base: str | Path | None = None,
        vision_tower: str | Path | None = None,
        sam2_weights: str | Path | None = None,
        sam2_config: str | None = None,
        load_gamma: bool = True,
    ) -> GLUS:
        """Loads a model of our own format, or a released checkpoint, in evaluation mode.

        Arguments and errors: see `glus.weights.loading.load_model`.
        """
        network = load_model(
            path,
            dtype=dtype,
            device=device,
            base=base,
            vision_tower=vision_tower,
            sam2_weights=sam2_weights,
            sam2_config=sam2_config,
            load_gamma=load_gamma,
        )
        model = cls(
            network.mllm,
            network.text_hidden_fcs,
            network.masks,
            network.tokenizer,
            network.transform,
            network.settings,
        )
        return model.eval()


class KeyFrameSelector(SelectorModel):
    """The selector: `KeyFrameSelector.from_pretrained(folder).score(frames, expressions)`."""

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        dtype: str = "float32",
        device: str | torch.device = "cpu",
        base: str | Path | None = None,
        vision_tower: str | Path | None = None,
    ) -> KeyFrameSelector:
        """Reads what `save_pretrained` wrote, a published selector, or Chat-UniVi (with a fresh score head).

        Arguments and errors: see `glus.weights.selector_loading.load_selector_model`.
        """
        network = load_selector_model(path, dtype=dtype, device=device, base=base, vision_tower=vision_tower)
        model = cls(
            vision_tower=network.vision_tower,
            mm_projector=network.mm_projector,
            language_model=network.language_model,
            tokenizer=network.tokenizer,
            image_processor=network.image_processor,
            clusters=network.token_merging.clusters,
            neighbours=network.token_merging.neighbours,
            score_head=network.score_head,
        )
        return model.eval()

    def score(
        self,
        frames: Frames,
        expressions: Sequence[str],
        *,
        max_context_frames: int = 11,
        batch: int = 36,
        noise_seed: int | None = None,
        go_on: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Scores every frame of a clip for every expression, float32 [B, T].

        Arguments and errors: see `glus.selector.scoring.score_frames`.
        """
        return score_frames(
            self,
            frames,
            expressions,
            max_context_frames=max_context_frames,
            batch=batch,
            noise_seed=noise_seed,
            go_on=go_on,
        )

    def save_pretrained(self, directory: Path) -> None:
        """Writes the model so that `from_pretrained` needs nothing else."""
        save_selector(self, self.state_dict(), directory)
