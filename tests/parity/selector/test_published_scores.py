"""The published selector's evaluation: scores of whole clips, key frames, and what prefix sharing may change."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from glus import KeyFrameSelector
from glus.processing.selector_conversation import encode_context, encode_tail
from glus.processing.sentences import asked_of_selector
from glus.processing.tokenizer import IMAGE_ID
from glus.selector.model import Reading
from glus.selector.sharing import context_groups
from glus.training.selector.validation import select_key_frame
from tests.parity.differences import within
from tests.parity.selector.conftest import Record
from tests.parity.selector.goldens import SelectorGoldens, largest, parametrised, selector_goldens

RUNS = list(selector_goldens().results("C").items())


@pytest.fixture(scope="module")
def selector(published: SelectorGoldens) -> KeyFrameSelector:
    return published.model(published.kind("C", "checkpoint"))


def recorded_rows(published: SelectorGoldens) -> list[dict[str, Any]]:
    """Video, expression and frame of each recorded score; runs without a list of their own share another's."""
    return next((run["rows"] for _, run in RUNS if run.get("rows")), None) or pytest.skip("no run lists its rows")


def clips(published: SelectorGoldens) -> dict[str, tuple[list, dict[str, str], list[str]]]:
    """Frames, expressions and frame names of each evaluation video."""
    return {
        video: (
            published.images("valid", video, meta["frames"]),
            {number: item["exp"] for number, item in meta["expressions"].items()},
            meta["frames"],
        )
        for video, meta in published.json("cases/meta_valid.json")["videos"].items()
    }


@parametrised("evaluation runs", RUNS, lambda run: run[1]["noise"], lambda run: run[0])
def test_scores_and_key_frames(
    published: SelectorGoldens, selector: KeyFrameSelector, case: tuple[str, dict[str, Any]]
) -> None:
    """With noise ours is drawn once a frame: comparable where it decides nothing, as in frames chosen for that."""
    name, run = case
    quiet = [other["scores"] for _, other in RUNS if other["noise"] == "off"]
    if run["noise"] != "off" and not (quiet and np.allclose(run["scores"], quiet[0], atol=1e-6)):
        pytest.skip("noise decides some of these scores; the published code draws it for every score, we for a frame")
    expected = {
        (row["video"], row["exp_id"], row["frame"]): score
        for row, score in zip(recorded_rows(published), run["scores"], strict=True)
    }
    compared = 0
    for video, (frames, expressions, names) in clips(published).items():
        scores = selector.score(frames, list(expressions.values()), noise_seed=run.get("seed")).numpy()
        for number, track in zip(expressions, scores, strict=True):
            recorded = np.array([expected[video, number, frame] for frame in names])
            within(f"C_{name}", "score", largest(track, recorded), 1e-5)
            assert int(names[select_key_frame(track)]) == int(names[int(np.argmax(recorded))])
            if f"{video}_{number}" in run.get("selected", {}):
                assert int(names[select_key_frame(track)]) == run["selected"][f"{video}_{number}"]
            compared += len(track)
    assert compared == len(expected)


@parametrised(
    "evaluation runs with rows", [run for run in RUNS if run[1].get("rows")], lambda run: 0, lambda run: run[0]
)
def test_ids_and_states_of_every_score(
    published: SelectorGoldens, selector: KeyFrameSelector, case: tuple[str, dict[str, Any]], inputs_of: Record
) -> None:
    """Whole prompts and the state that is scored, for every frame of every expression."""
    name, run = case
    golden = published.arrays(f"cases/C_{name}.npz")
    rows = {(row["video"], row["exp_id"], row["frame"]): index for index, row in enumerate(run["rows"])}
    states = inputs_of(selector.score_head)
    for video, (frames, expressions, names) in clips(published).items():
        groups = context_groups(len(frames), 11)
        for number, text in expressions.items():
            states.clear()
            selector.score(frames, [text], batch=1, noise_seed=run.get("seed"))
            tail = encode_tail(selector.tokenizer, asked_of_selector(text))
            order = [frame for group in groups for frame in group]
            for frame, state in zip(order, states, strict=True):
                row = rows[video, number, names[frame]]
                context = encode_context(selector.tokenizer, len(groups[frame % len(groups)]))
                ids = golden["input_ids_padded_with_minus1"][row]
                assert [*context, IMAGE_ID, *tail.ids] == ids[ids != -1].tolist()
                within(f"C_{name}", "hidden state", largest(state[0], golden["score_hidden"][row]), 1e-5)


def test_prefix_sharing(published: SelectorGoldens, selector: KeyFrameSelector, inputs_of: Record) -> None:
    """Scores of whole prompts and of shared ones, lengths of the prefixes, embeddings of a prefix and of a prompt."""
    golden = published.arrays("cases/D_sharing.npz")
    official = golden["official_scores"]
    scored = [
        (selector.score(frames, list(expressions.values())), frames, list(expressions.values()))
        for frames, expressions, _ in clips(published).values()
        if (len(expressions), len(frames)) == official.shape
    ]
    if not scored:
        pytest.skip(f"no video of {official.shape[1]} frames with {official.shape[0]} expressions")
    scores, frames, texts = min(scored, key=lambda item: largest(item[0], official))
    for name in ("official_scores", "shared_scores"):
        within("D", "score, shared against whole", largest(scores, golden[name]), 1e-5)
    assert scores.argmax(dim=1).tolist() == official.argmax(axis=1).tolist()

    read = inputs_of(selector.language_model.model.layers[0])
    selector.score(frames, texts)
    lengths = golden["prefix_lengths"].tolist()
    prefixes = [part[0] for part in read if len(part) == 1 and part.shape[1] in lengths]
    assert [len(part) for part in prefixes] == lengths
    within("D", "embeddings of a prefix", largest(prefixes[0], golden["prefix_embeds_residue0"]), 1e-5)
    groups = context_groups(len(frames), 11)
    for name, expected in golden.items():
        if found := re.fullmatch(r"official_embeds_query(\d+)_exp(\d+)", name):
            query, number = map(int, found.groups())
            prompt = whole_prompt(selector, frames, groups[query % len(groups)], query, texts[number])
            within("D", "embeddings of a prompt", largest(prompt, expected), 1e-5)


@torch.no_grad()
def whole_prompt(selector: KeyFrameSelector, frames: list, context: range, query: int, text: str) -> torch.Tensor:
    """Embeddings of one unshared prompt, float [length, D]."""
    pixels = selector.image_processor([frames[index] for index in (*context, query)], return_tensors="pt")
    tokens = selector.encode_frames(pixels["pixel_values"])
    given: list[torch.Tensor] = []
    first_layer = selector.language_model.model.layers[0]
    handle = first_layer.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    selector([Reading(tokens[:-1], tokens[-1:], [encode_tail(selector.tokenizer, asked_of_selector(text))])])
    handle.remove()
    return given[0][0]
