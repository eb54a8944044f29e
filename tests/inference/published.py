"""The plain way to segment a video: every frame anew, one sentence, one prompt after another, an unpruned bank."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from glus import GLUS
from glus.model.memory import memory_frames
from glus.model.sam2 import Memory
from glus.processing.context_frames import centre_context_frames
from glus.processing.conversation import inference_prompt
from glus.processing.sentences import asked_of_glus
from glus.processing.tokens import expand_images, place_visual_tokens


@dataclass
class PlainPass:
    """One pass over a video, from the paper's text (4.1, 4.2, B.3): nothing is shared and nothing forgotten.

    Args:
        missed: steps at which [SEG] does not win, whatever the model says.
    """

    model: GLUS
    frames: Sequence[Image.Image]
    expression: str
    memory_stride: int = 3
    missed: Sequence[int] = ()
    memories: dict[int, Memory] = field(default_factory=dict)

    @torch.inference_mode()
    def run(self, order: Sequence[int]) -> Tensor:
        """Low-resolution logits of the frames in the order of the pass, [W, h, w]; NaN at misses."""
        return torch.stack([self._step(step, order[: step + 1]) for step in range(len(order))])

    def _step(self, step: int, past: Sequence[int]) -> Tensor:
        model = self.model
        states, hit = self._read(past[-model.settings.num_query_frames :])
        if not hit or step in self.missed:
            return torch.full(model.masks.logit_size, torch.nan)
        features = model.masks.encode(model.transform.sam2([self.frames[past[-1]]]))
        wanted = [index for index in memory_frames(step, self.memory_stride) if index in self.memories]
        conditioned = model.masks.condition(features, [self.memories[index] for index in wanted])
        logits = model.masks.decode(conditioned, features, model.seg_prompts(states), model.settings.dynamic_multimask)
        self.memories[step] = model.masks.remember(conditioned, logits)
        return logits[0]

    def _read(self, window: Sequence[int]) -> tuple[Tensor, bool]:
        """State that predicts the newest [SEG], [1, D], of a whole prompt; whether it is the next token."""
        model = self.model
        context = centre_context_frames(len(self.frames), model.settings.num_context_frames)
        prompt = inference_prompt(
            asked_of_glus(self.expression),
            model.settings.num_context_frames,
            len(window),
            trailing_space=model.settings.trailing_space,
        )
        ids = torch.tensor([expand_images(model.tokenizer.encode_with_images(prompt), model.mllm.tokens_per_frame)])
        pixels = model.transform.clip([self.frames[index] for index in [*context, *window]])
        tokens = model.mllm.project(model.mllm.encode_frames(pixels)).flatten(0, 1).unsqueeze(0)
        words = model.language_model.get_input_embeddings()(ids.clamp(min=0))
        read = model.language_model.model(
            inputs_embeds=place_visual_tokens(words, ids, tokens), use_cache=False, output_hidden_states=True
        )
        newest = read.last_hidden_state[:, -1]
        seg = read.hidden_states[-2][:, -1] if model.settings.seg_layer == "penultimate" else newest
        return seg, bool(model.seg_logits(newest).argmax(dim=-1) == model.seg_id)
