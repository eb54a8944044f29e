"""Prompts and ids of the published selector, in training and evaluation."""

import pytest

from glus.processing.selector_conversation import ANSWERS, context_text, encode_context, request_text
from glus.processing.sentences import IMAGE
from glus.processing.tokenizer import IMAGE_ID, LlamaSentencePiece
from glus.selector.sharing import context_groups
from tests.parity.selector.goldens import CONTEXT, SelectorGoldens, parse_conversation


@pytest.mark.parametrize("legacy", [True, False])
def test_ids_of_training_conversations(published: SelectorGoldens, legacy: bool) -> None:
    """The whole text at once, and our two parts around the target image."""
    golden = published.json("cases/B_tokenization.json")
    if f"legacy_{legacy}" not in golden:
        pytest.skip(f"no ids for legacy={legacy}")
    saved = published.tokenizer()
    model = (published.folder / "selector/tokenizer.model").read_bytes()
    tokenizer = LlamaSentencePiece(model, saved.added_tokens, legacy=legacy)
    expected = dict(zip(golden["conversations"], golden[f"legacy_{legacy}"], strict=True))
    for text, ids in expected.items():
        assert tokenizer.encode_with_images(text) == ids, text
    for text, expression in published.conversations():
        tail = parse_conversation(tokenizer, text, expression)
        num_context = len(CONTEXT.findall(text))
        assert [*encode_context(tokenizer, num_context), IMAGE_ID, *tail.ids] == expected[text]


def test_supervised_tokens_and_score_positions(published: SelectorGoldens) -> None:
    runs = published.results("B")
    if not runs:
        pytest.skip("no training runs")
    tokenizer = published.tokenizer()
    conversations = list(published.conversations())
    for name, run in runs.items():
        golden = published.arrays(run.get("files", [f"cases/B_{name}.npz"])[0])
        for row, (text, expression) in enumerate(conversations):
            tail = parse_conversation(tokenizer, text, expression)
            ids = [*encode_context(tokenizer, len(CONTEXT.findall(text))), IMAGE_ID, *tail.ids]
            assert golden["input_ids"][row][golden["attention_mask"][row]].tolist() == ids
            labels = golden["labels"][row]
            assert labels[labels != -100].tolist() == list(tail.ids[tail.answer_start :])
            assert (labels[: len(ids) - len(tail.ids) + tail.answer_start] == -100).all()


def test_evaluation_prompts(published: SelectorGoldens) -> None:
    prompts = published.kind("C", "results", "prompts_first_of_each_expression")
    videos = published.json("cases/meta_valid.json")["videos"]
    for video, meta in videos.items():
        for number, item in meta["expressions"].items():
            prompt = prompts.get(f"{video}_{number}")
            if prompt is None:
                continue
            text = " ".join(item["exp"].lower().split())
            num_context = len(CONTEXT.findall(prompt))
            assert prompt == f"{context_text(num_context)}{IMAGE}{request_text(text)} {ANSWERS[0]}</s>"


def test_context_frames(published: SelectorGoldens) -> None:
    """Which frames stand before which target, for every recorded length."""
    for num_frames, entry in published.kind("C", "results", "context_selection").items():
        if not isinstance(entry, dict) or "context_per_query" not in entry:
            continue
        groups = context_groups(int(num_frames), 11)
        assert len(groups) == entry.get("distinct_context_sets", len(groups))
        contexts = entry["context_per_query"]
        numbered = contexts.items() if isinstance(contexts, dict) else enumerate(contexts)
        for query, expected in numbered:
            assert list(groups[int(query) % len(groups)]) == expected, (num_frames, query)
            assert int(query) in expected
