"""Small demonstrations of how the published code behaves: what is trained, sums of annotations, the lost gamma."""

import pytest
import torch

from glus.config import load_config
from glus.model.lora import add_lora
from glus.training.loop.trainable import select_parameters
from glus.training.segmentation.objectives import mask_losses
from tests.conftest import ROOT
from tests.parity.test_training_step import published_name

WITHOUT_GRADIENT = ("sam_mask_decoder.conv_s0.", "sam_mask_decoder.conv_s1.")  # run inside the image encoding


def test_the_paper_preset_trains_what_the_published_code_trains(goldens):
    official = goldens.demonstration("official_training_setup")["trainable"]
    preset = load_config(ROOT / "glus" / "presets" / "glus_s.yaml")
    model = goldens.load("kept")
    add_lora(model.language_model, preset.model.lora)
    chosen = select_parameters(model, preset.train.trainable)
    ours = {published_name(name): list(value.shape) for name, value in chosen.items()}
    theirs = {name.removeprefix("base_model.model."): shape for name, shape, _ in official}
    assert ours == {name: shape for name, shape in theirs.items() if not any(part in name for part in WITHOUT_GRADIENT)}


@pytest.mark.parametrize("target", [1, 2])
def test_a_pixel_of_two_annotations(goldens, target):
    expected = goldens.demonstration("bugs")[f"bce_with_target_{target}"]
    bce, _ = mask_losses(torch.full((1, 1, 1, 1), 6.0), [torch.full((1, 1, 1, 1), target, dtype=torch.uint8)])
    assert float(bce) == pytest.approx(expected, abs=1e-6)


def test_the_gamma_that_the_published_loader_leaves(goldens):
    bugs, lost, kept = goldens.demonstration("bugs"), goldens.model("lost"), goldens.model("kept")
    for key, model in (("gamma_after_from_pretrained", lost), ("gamma_in_checkpoint_file", kept)):
        for name, (lowest, highest) in bugs[key].items():
            own = name.replace("model.visual_model.", "masks.sam2.")
            values = model.state_dict()[own]
            assert (float(values.min()), float(values.max())) == pytest.approx((lowest, highest), rel=1e-6)
