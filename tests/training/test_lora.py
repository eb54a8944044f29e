"""Adapters change nothing until trained, and merged weights are the adapted model."""

import torch
from transformers import LlamaForCausalLM

from glus.model.lora import add_lora, merged_state_dict
from glus.model.scratch import llama_config
from glus.training.loop.trainable import part_of, select_parameters


def test_merged_weights_equal_the_adapted_model(config):
    torch.manual_seed(0)
    plain = LlamaForCausalLM(llama_config(config.model.language, 50))
    adapted = LlamaForCausalLM(plain.config)
    adapted.load_state_dict(plain.state_dict())
    add_lora(adapted, config.model.lora)
    ids = torch.randint(0, 50, (2, 7))
    before = plain(ids).logits
    assert torch.allclose(adapted(ids).logits, before, atol=1e-6)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    changed = adapted(ids).logits
    assert not torch.allclose(changed, before, atol=1e-3)
    merged = merged_state_dict(adapted)
    assert merged.keys() == plain.state_dict().keys()
    plain.load_state_dict(merged)
    assert torch.allclose(plain(ids).logits, changed, atol=1e-4)


def test_every_parameter_belongs_to_a_part_or_is_unused(model):
    add_lora(model.language_model, type("L", (), {"rank": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj"]})())
    unused = {name for name, _ in model.named_parameters() if part_of(name) is None}
    assert unused <= {"masks.sam2.maskmem_tpos_enc", "masks.sam2.no_mem_pos_enc"}
    lora = select_parameters(model, ["lora"])
    assert len(lora) == 4 and all("q_proj.lora_" in name for name in lora)
