"""The compiled image encoder; the backend that changes nothing stands for the compiler, which takes minutes."""

import pytest
import torch
from torch._dynamo.backends.registry import lookup_backend

from glus.inference.compiled import compile_image_encoder


def raising(*_):
    raise RuntimeError("no C compiler\nand a long log")


def inexact(graph, inputs):
    return lambda *given: tuple(output * 1.01 for output in graph(*given))


def test_it_gives_the_same_features_whatever_the_number_of_frames(model):
    plain = model.masks.sam2.image_encoder
    calls = []

    def counted(graph, inputs):
        calls.append(1)
        return lookup_backend("eager")(graph, inputs)

    with torch.inference_mode():
        pixels = torch.randn(3, 3, model.masks.image_size, model.masks.image_size)
        expected = [model.masks.encode(frame) for frame in pixels.split(1)]
        compile_image_encoder(model, counted)
        compiled = len(calls)
        found = [model.masks.encode(pixels), model.masks.encode(pixels[:2])]
    assert model.masks.sam2.image_encoder is not plain
    assert compiled and len(calls) == compiled, "it was compiled again for another number of frames"
    for features in found:
        for row in range(len(features.stride4)):
            for name in ("stride4", "stride8", "stride16", "position"):
                torch.testing.assert_close(getattr(features, name)[row], getattr(expected[row], name)[0])


@pytest.mark.parametrize(
    ("backend", "said"), [(raising, "cannot be compiled here"), (inexact, "gives other features when it is compiled")]
)
def test_without_it_the_model_stays_as_it_is_and_one_line_says_so(model, backend, said, caplog):
    plain = model.masks.sam2.image_encoder
    compile_image_encoder(model, backend)
    assert model.masks.sam2.image_encoder is plain
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and said in warnings[0] and "\n" not in warnings[0]
