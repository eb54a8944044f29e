#!/usr/bin/env bash
# transformers 5.23.0: LlamaTokenizer.save_pretrained does not keep `legacy=True`; loaded again, the tokenizer gives
# other ids for a word that follows an added token directly. No warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check transformers==5.23.0 sentencepiece==0.2.3 protobuf==7.36.2
cd "$work"
env/bin/python - <<'PY' 2> log || { cat log; exit 1; }
import os

import sentencepiece
from transformers import LlamaTokenizer

os.mkdir("before")
sentences = ["the quick brown fox jumps over the lazy dog", "two cats sleep on the left side"] * 50
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(sentences), model_prefix="before/tokenizer", vocab_size=60, model_type="bpe", hard_vocab_limit=False
)
before = LlamaTokenizer.from_pretrained("before", legacy=True)
before.add_tokens(["[SEG]"], special_tokens=True)
before.save_pretrained("after")
after = LlamaTokenizer.from_pretrained("after")
text = "the dog[SEG]jumps"
print(f"saved files: {sorted(os.listdir('after'))}; legacy before {before.legacy}, after {after.legacy}")
print(f"{text!r}: before {before.convert_ids_to_tokens(before(text).input_ids)}, after {after.convert_ids_to_tokens(after(text).input_ids)}")
assert (before.legacy, after.legacy) == (True, False), "changed"
assert before(text).input_ids != after(text).input_ids, "changed"
PY
