"""Published folders in: GLUS, LISA with SAM-2; what does not fit is named; the sizes of the release."""

import json
from types import SimpleNamespace

import pytest
import torch
from published import SAM1, published_name, published_tensors, write_clip, write_glus, write_lisa
from safetensors.torch import load_file, save_file
from sam2.build_sam import build_sam2
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel, LlamaConfig
from typer.testing import CliRunner

from glus import GLUS
from glus.cli import app
from glus.errors import InputError
from glus.inference import segment_video
from glus.model.assembly import assemble
from glus.model.sam2 import load_sam2_config
from glus.processing.transforms import build_clip_processor
from glus.weights.clip import load_vision_tower
from glus.weights.inspection import summarise
from glus.weights.lisa import build_from_lisa, is_lisa
from glus.weights.released import LOST_GAMMA, load_released, rename
from glus.weights.released import SETTINGS as RELEASED
from glus.weights.saved import save_glus

GAMMA = "masks.sam2.memory_encoder.fuser.layers.0.gamma"


@pytest.fixture
def clip(model, tmp_path):
    return write_clip(tmp_path / "clip", model)


@pytest.fixture
def sam2_config(root):
    return str(root / "glus/model/sam2_tiny.yaml")


@pytest.fixture
def sam2_weights(model, tmp_path):
    torch.save({"model": model.masks.sam2.state_dict()}, tmp_path / "sam2.pt")
    return tmp_path / "sam2.pt"


@pytest.fixture
def from_lisa(clip, sam2_config, sam2_weights):
    return {"vision_tower": clip, "sam2_config": sam2_config, "sam2_weights": sam2_weights}


def test_types_are_kept_until_the_model_is_used(model, clip, sam2_config, tmp_path):
    folder = write_glus(tmp_path / "glus", model)
    loaded = load_released(folder, vision_tower=clip, sam2_config=sam2_config)
    assert loaded.language_model.lm_head.weight.dtype == torch.bfloat16
    assert loaded.masks.sam2.no_mem_embed.dtype == loaded.text_hidden_fcs[0].weight.dtype == torch.float32
    ready = GLUS.from_pretrained(folder, vision_tower=clip, sam2_config=sam2_config)
    assert {parameter.dtype for parameter in ready.parameters()} == {torch.float32}


def test_gamma_as_stored_or_as_the_published_loader_leaves_it(model, clip, sam2_config, tmp_path):
    with torch.no_grad():
        model.state_dict()[GAMMA].fill_(0.5)
    folder = write_glus(tmp_path / "glus", model)
    for load_gamma, expected in ((True, 0.5), (False, LOST_GAMMA)):
        loaded = GLUS.from_pretrained(folder, vision_tower=clip, sam2_config=sam2_config, load_gamma=load_gamma)
        assert torch.equal(loaded.state_dict()[GAMMA], torch.full_like(model.state_dict()[GAMMA], expected))


def test_lisa_brings_the_words_and_sam2_the_masks(model, from_lisa, tmp_path):
    folder = write_lisa(tmp_path / "lisa", model)
    assert is_lisa(folder) and not is_lisa(write_glus(tmp_path / "glus", model))
    fresh = build_from_lisa(folder, **from_lisa, settings=model.settings)
    assert fresh.dropped == tuple(sorted(f"model.visual_model.{name}" for name in SAM1)) and not fresh.added_tokens
    for name, tensor in model.state_dict().items():
        found = fresh.model.state_dict()[name]
        rounded = tensor.bfloat16() if name.startswith(("mllm.language_model", "mllm.mm_projector")) else tensor
        assert torch.equal(found, rounded), name


def test_tokens_that_lisa_does_not_know_get_rows_of_their_own(model, from_lisa, tmp_path):
    lisa = write_lisa(tmp_path / "lisa", model)
    known = len(model.tokenizer) - 2
    (lisa / "added_tokens.json").write_text(json.dumps({"[SEG]": known - 1}))
    for file in lisa.glob("*.bin"):
        tensors = torch.load(file, weights_only=True)
        cut = {name: value[:known] if name in ("lm_head.weight", "model.embed_tokens.weight") else value
               for name, value in tensors.items()}  # fmt: skip
        torch.save(cut, file)
    fresh = build_from_lisa(lisa, **from_lisa, settings=model.settings, seed=3)
    again = build_from_lisa(lisa, **from_lisa, settings=model.settings, seed=3)
    assert fresh.added_tokens == ("<im_start>", "<im_end>")
    for head in ("embed_tokens.weight", "lm_head.weight"):
        [weight] = [value for name, value in fresh.model.state_dict().items() if name.endswith(head)]
        [same] = [value for name, value in again.model.state_dict().items() if name.endswith(head)]
        [before] = [value for name, value in model.state_dict().items() if name.endswith(head)]
        assert torch.equal(weight[:known], before[:known].bfloat16()) and torch.equal(weight, same)
        assert 0.01 < weight[known:].float().std() < 0.03


def test_an_incomplete_checkpoint_is_refused_by_name(model, clip, sam2_config, from_lisa, sam2_weights, tmp_path):
    folder = write_glus(tmp_path / "glus", model)
    shard = torch.load(folder / "a.bin", weights_only=True)
    name = next(name for name in shard if "memory_encoder" in name)
    torch.save({other: value for other, value in shard.items() if other != name}, folder / "a.bin")
    with pytest.raises(InputError, match=f"missing {name.replace('model.visual_model', 'masks.sam2')}"):
        GLUS.from_pretrained(folder, vision_tower=clip, sam2_config=sam2_config)
    torch.save({"weights": {}}, sam2_weights)
    with pytest.raises(InputError, match=r"sam2.pt has no entry `model`"):
        build_from_lisa(write_lisa(tmp_path / "lisa", model), **from_lisa, settings=model.settings)
    sam2_weights.write_bytes(b"no file of torch")
    with pytest.raises(InputError, match=r"sam2.pt cannot be read as plain tensors"):
        build_from_lisa(tmp_path / "lisa", **from_lisa, settings=model.settings)


def test_the_command_converts_and_the_result_needs_nothing_else(always_seg, clip, sam2_config, tmp_path, frames):
    folder, out = write_glus(tmp_path / "glus", always_seg), tmp_path / "ours"
    options = ["--vision-tower", str(clip), "--sam2-config", sam2_config]
    done = CliRunner().invoke(app, ["weights", "import", str(folder), str(out), *options])
    assert done.exit_code == 0, done.output
    assert "published GLUS" in (out / "README.md").read_text()
    assert load_file(out / "model.safetensors")["mllm.language_model.lm_head.weight"].dtype == torch.bfloat16
    published = GLUS.from_pretrained(folder, vision_tower=clip, sam2_config=sam2_config)
    converted = GLUS.from_pretrained(out)
    for one in (published, converted):
        one.seg_logits = always_seg.seg_logits
    first, second = (segment_video(one, frames[:3], ["the red circle"]) for one in (published, converted))
    assert (first.logits == second.logits).all()
    again = CliRunner().invoke(app, ["weights", "import", str(folder), str(out), *options])
    assert isinstance(again.exception, InputError) and "exists already" in str(again.exception)


def test_the_commands_for_lisa(model, from_lisa, tmp_path):
    folder = write_lisa(tmp_path / "lisa", model)
    parts = summarise(folder)
    assert parts["SAM-1 (LISA's, not used)"].tensors == len(SAM1)
    assert parts["LLaMA"].dtypes == {"bfloat16": parts["LLaMA"].tensors}
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["weights", "inspect", str(folder)])
    assert shown.exit_code == 0 and "LISA" in shown.output
    options = [f"--{name.replace('_', '-')}={value}" for name, value in from_lisa.items()]
    verified = CliRunner().invoke(app, ["weights", "verify", str(folder), *options])
    assert verified.exit_code == 0 and "model.visual_model.mask_decoder.iou_token.weight" in verified.output
    refused = CliRunner().invoke(app, ["weights", "verify", str(folder), *options[:2]])
    assert isinstance(refused.exception, InputError) and "--sam2-weights" in str(refused.exception)


def test_the_index_decides_where_a_tensor_stands_twice(model, clip, sam2_config, tmp_path):
    folder = write_glus(tmp_path / "glus", model)
    name = "lm_head.weight"
    where = json.loads((folder / "pytorch_model.bin.index.json").read_text())["weight_map"][name]
    other = folder / ({"a.bin", "b.bin"} - {where}).pop()
    tensors = torch.load(other, weights_only=True)
    torch.save(tensors | {name: torch.full_like(model.language_model.lm_head.weight, 7)}, other)
    loaded = GLUS.from_pretrained(folder, vision_tower=clip, sam2_config=sam2_config)
    assert torch.equal(loaded.language_model.lm_head.weight, model.language_model.lm_head.weight.bfloat16().float())


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
@pytest.mark.parametrize("sharded", [True, False])
def test_every_way_to_store_a_checkpoint_loads_and_is_shown(model, clip, sam2_config, tmp_path, suffix, sharded):
    folder, tensors = write_glus(tmp_path / "glus", model), published_tensors(model)
    for file in (*folder.glob("*.bin"), folder / "pytorch_model.bin.index.json"):
        file.unlink()
    save = save_file if suffix == "safetensors" else torch.save
    whole = "model.safetensors" if suffix == "safetensors" else "pytorch_model.bin"
    names = sorted(tensors)
    shards = {f"1.{suffix}": names[::2], f"2.{suffix}": names[1::2]} if sharded else {whole: names}
    for file, members in shards.items():
        save({name: tensors[name].contiguous() for name in members}, folder / file)
    if sharded:
        index = {"weight_map": {name: file for file, members in shards.items() for name in members}}
        (folder / f"{whole}.index.json").write_text(json.dumps(index))
    loaded = load_released(folder, vision_tower=clip, sam2_config=sam2_config)
    assert all(torch.equal(value, loaded.state_dict()[rename(name)]) for name, value in tensors.items())
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["weights", "inspect", str(folder)])
    assert shown.exit_code == 0 and "published GLUS" in shown.output
    assert sum(part.tensors for part in summarise(folder).values()) == len(tensors)


def test_our_own_format_is_shown(model, tmp_path):
    save_glus(model, model.state_dict(), tmp_path)
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["weights", "inspect", str(tmp_path)])
    assert shown.exit_code == 0 and "vision tower" in shown.output and ": glus" in shown.output


def test_a_whole_clip_gives_its_tower(model, tmp_path):
    text = {
        "vocab_size": 50,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    whole = CLIPModel(CLIPConfig(vision_config=model.vision_tower.config.to_dict(), text_config=text))
    whole.save_pretrained(tmp_path)
    tower, theirs = load_vision_tower(tmp_path), CLIPVisionModel.from_pretrained(tmp_path)
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in tower.state_dict().items())


class Vocabulary(SimpleNamespace):
    """LLaMA's 32,000 pieces and three tokens."""

    def __len__(self):
        return 32_003

    def token_id(self, _):
        return 32_000


def published_7b():
    """Names and shapes that follow from the public configurations, without SAM-2."""
    width, inner, vocabulary = 4096, 11008, 32_003
    yield "model.embed_tokens.weight", (vocabulary, width)
    yield "lm_head.weight", (vocabulary, width)
    yield "model.norm.weight", (width,)
    for layer in range(32):
        base = f"model.layers.{layer}."
        yield from ((f"{base}self_attn.{name}_proj.weight", (width, width)) for name in "qkvo")
        yield from ((f"{base}mlp.{name}_proj.weight", (inner, width)) for name in ("gate", "up"))
        yield f"{base}mlp.down_proj.weight", (width, inner)
        yield from ((f"{base}{name}_layernorm.weight", (width,)) for name in ("input", "post_attention"))
    yield from (("model.mm_projector.weight", (width, 1024)), ("model.mm_projector.bias", (width,)))
    yield from (("model.text_hidden_fcs.0.0.weight", (width, width)), ("model.text_hidden_fcs.0.0.bias", (width,)))
    yield from (("model.text_hidden_fcs.0.2.weight", (256, width)), ("model.text_hidden_fcs.0.2.bias", (256,)))


def clip_l():
    """Names and shapes of CLIP ViT-L/14's tower at 224 px, the wrapper of some releases of transformers left out."""
    width, inner = 1024, 4096
    yield "embeddings.class_embedding", (width,)
    yield "embeddings.patch_embedding.weight", (width, 3, 14, 14)
    yield "embeddings.position_embedding.weight", (16 * 16 + 1, width)
    layers = [f"encoder.layers.{layer}." for layer in range(24)]
    norms = [f"{base}layer_norm{number}" for base in layers for number in (1, 2)]
    for norm in ("pre_layrnorm", "post_layernorm", *norms):
        yield from ((f"{norm}.weight", (width,)), (f"{norm}.bias", (width,)))
    for base in layers:
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from ((f"{base}self_attn.{name}.weight", (width, width)), (f"{base}self_attn.{name}.bias", (width,)))
        yield from ((f"{base}mlp.fc1.weight", (inner, width)), (f"{base}mlp.fc1.bias", (inner,)))
        yield from ((f"{base}mlp.fc2.weight", (width, inner)), (f"{base}mlp.fc2.bias", (width,)))


@pytest.mark.parametrize(
    ("sam2", "millions"),
    [
        ("sam2/sam2_hiera_l.yaml", 224.4), ("sam2/sam2_hiera_b+.yaml", 80.8), ("sam2/sam2_hiera_s.yaml", 46.0),
        ("sam2/sam2_hiera_t.yaml", 38.9), ("sam2.1/sam2.1_hiera_l.yaml", 224.4), ("sam2.1/sam2.1_hiera_t.yaml", 38.9),
    ],
)  # fmt: skip
def test_the_sizes_of_the_release(sam2, millions):
    """Every parameter: LLaMA-2-7B and CLIP by their public sizes, SAM-2 by the package's own builder."""
    tower = CLIPVisionConfig(
        image_size=224, patch_size=14, hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
        num_attention_heads=16, projection_dim=768,
    )  # fmt: skip
    with torch.device("meta"):
        vision = CLIPVisionModel(tower)
    language = LlamaConfig(
        vocab_size=32_003, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32
    )
    config, processor = load_sam2_config(sam2.split("/")[1]), build_clip_processor(224)
    model = assemble(vision, language, config, Vocabulary(), processor, RELEASED)
    assert model.mllm.tokens_per_frame == 64
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {
        published_name(name): shape
        for name, shape in own.items()
        if not name.startswith(("masks.", "mllm.vision_tower."))
    }
    assert found == dict(published_7b())
    assert {name.removeprefix("vision_model."): tuple(v.shape) for name, v in vision.state_dict().items()} == dict(
        clip_l()
    )
    theirs = build_sam2(f"configs/{sam2}", ckpt_path=None, device="cpu").state_dict()
    assert {name: value.shape for name, value in model.masks.sam2.state_dict().items()} == {
        name: value.shape for name, value in theirs.items()
    }
    masks = sum(parameter.numel() for parameter in model.masks.parameters())
    assert abs(masks / 1e6 - millions) < 0.1
    assert abs(sum(parameter.numel() for parameter in model.language_model.parameters()) / 1e6 - 6738.4) < 0.1
