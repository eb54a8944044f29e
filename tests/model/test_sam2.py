"""The mask branch against SAM-2's own forward calls, and against what it must not depend on."""

import json

import pytest
import torch

from glus.errors import InputError
from glus.model.lora import merged_state_dict
from glus.model.sam2 import build_sam2, load_sam2_config, resize_logits
from glus.weights.saved import load_glus, save_glus


@pytest.fixture
def features(model):
    return model.masks.encode(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))


@torch.inference_mode()
@pytest.mark.parametrize("dynamic", [False, True])
def test_decode_equals_the_decoders_own_forward(model, features, dynamic):
    prompts = torch.randn(2, 128, generator=torch.Generator().manual_seed(1))
    conditioned = model.masks.condition(features, [])
    ours = model.masks.decode(conditioned, features, prompts, dynamic_multimask=dynamic)
    sam2 = model.masks.sam2
    sam2.sam_mask_decoder.train(not dynamic)  # its own switch: dynamic multimask in evaluation mode only
    theirs, *_ = sam2.sam_mask_decoder(
        image_embeddings=conditioned,
        image_pe=sam2.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=prompts.unsqueeze(1),
        dense_prompt_embeddings=sam2.sam_prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(2, -1, 4, 4),
        multimask_output=False,
        repeat_image=False,
        high_res_features=[features.stride4, features.stride8],
    )
    assert torch.equal(ours, theirs[:, 0])


@torch.inference_mode()
def test_remember_equals_sam2s_own_memory_encoding(model, features):
    logits = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(2)) * 4
    conditioned = model.masks.condition(features, [])
    ours = model.masks.remember(conditioned, logits)
    theirs, position = model.masks.sam2._encode_new_memory(
        current_vision_feats=[conditioned.flatten(2).permute(2, 0, 1)],
        feat_sizes=[(4, 4)],
        pred_masks_high_res=resize_logits(logits, 64, 64).unsqueeze(1),
        object_score_logits=torch.ones(2, 1),
        is_mask_from_pts=False,
    )
    assert torch.allclose(ours.features, theirs, atol=1e-6)
    assert torch.equal(ours.position, position[0])


@torch.inference_mode()
def test_memory_is_a_set(model, features):
    logits = torch.randn(3, 2, 16, 16, generator=torch.Generator().manual_seed(3))
    conditioned = model.masks.condition(features, [])
    memories = [model.masks.remember(conditioned, item) for item in logits]
    forward, backward = (model.masks.condition(features, items) for items in (memories, memories[::-1]))
    assert torch.allclose(forward, backward, atol=1e-5)
    assert not torch.allclose(forward, model.masks.condition(features, memories[:1]), atol=1e-3)


@torch.inference_mode()
def test_masks_of_a_batch_do_not_touch_each_other(model, features):
    prompts = torch.randn(2, 128, generator=torch.Generator().manual_seed(4))
    together, _ = model.masks.segment_frame(features, prompts, [])
    alone, _ = model.masks.segment_frame(features[1:], prompts[1:], [])
    assert torch.allclose(together[1:], alone, atol=1e-5)


@pytest.mark.parametrize("name", ["sam2_hiera_l.yaml", "sam2_hiera_t.yaml", "sam2.1_hiera_b+.yaml"])
def test_the_packages_configurations_build(name):
    with torch.device("meta"):
        assert load_sam2_config(name)["_target_"] == "sam2.modeling.sam2_base.SAM2Base"


def test_foreign_classes_are_refused():
    with pytest.raises(InputError, match=r"os\.system"):
        build_sam2({"_target_": "sam2.modeling.sam2_base.SAM2Base", "image_encoder": {"_target_": "os.system"}})


def test_unknown_configuration_names_the_known_ones():
    with pytest.raises(InputError, match=r"sam2_hiera_l\.yaml"):
        load_sam2_config("no_such.yaml")


BASE = "sam2.modeling.sam2_base.SAM2Base"
FOREIGN = [
    {"_target_": "os.system"},
    {"_target_": "sam2.build_sam.build_sam2_hf"},  # of the package, but not what a SAM-2 is made of
    {"_target_": "sam2.modeling.sam2_base.torch.hub.load"},  # what a module of it imports
    {"_target_": "sam2.modeling.backbones.hieradet.g_pathmgr.rm"},
    {"_target_": "sam2.modeling.sam2_base.SAM2Base.load_state_dict"},
    {"_target_": "sam2.modeling.sam2_utils.get_activation_fn"},
    {"_target_": ["os.system"]},
    {"_target_": None},
    {"_target_": BASE, "_partial_": True},
    {"_target_": BASE, "_args_": [1]},
    {"_recursive_": False},
    {"_call_": "os.system"},
    {"_target_": "sam2.modeling.backbones.hieradet.Hiera", "weights_path": "elsewhere.pt"},
]
PLACES = [
    lambda value: value,
    lambda value: {"_target_": BASE, "image_encoder": value},
    lambda value: {"_target_": BASE, "image_encoder": [value]},
    lambda value: {"_target_": BASE, "memory_attention": {"layer": [{"deep": [value]}]}},
]


@pytest.mark.parametrize("value", FOREIGN, ids=str)
@pytest.mark.parametrize("place", PLACES, ids=["top", "mapping", "list", "deep"])
def test_only_what_sam2_is_made_of_is_built_wherever_it_is_named(monkeypatch, value, place):
    called = []
    monkeypatch.setattr("os.system", lambda *arguments: called.append(arguments))
    with pytest.raises(InputError, match="SAM-2 configuration, model"):
        build_sam2(place(value))
    assert not called


def test_a_configuration_that_holds_itself_is_refused():
    value: dict = {"_target_": BASE}
    value["image_encoder"] = value
    with pytest.raises(InputError, match="a part of it holds itself"):
        build_sam2(value)


def test_values_that_do_not_fit_are_one_sentence():
    config = load_sam2_config("glus/model/sam2_tiny.yaml")
    trunk = config["image_encoder"]["trunk"] | {"window_spec": [8]}
    config["image_encoder"] = config["image_encoder"] | {"trunk": trunk}
    with pytest.raises(InputError, match=r"model\.image_encoder\.trunk: .*Hiera cannot be built"):
        build_sam2(config)


def test_a_model_folder_is_read_by_the_same_list(model, tmp_path):
    save_glus(model, merged_state_dict(model), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["sam2"]["memory_encoder"]["fuser"]["layer"] = [{"_target_": "os.system", "command": "true"}]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"os\.system; only classes"):
        load_glus(tmp_path)
