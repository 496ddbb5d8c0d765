"""The convolutional network over words equals its formula in float64, and ignores padding."""

import numpy as np
import pytest

from dltrain.models.textcnn import TextCNN
from dltrain.tasks import Classification
from dltrain.types import Feature, Kind, Spec

LENGTHS = np.array([6, 1, 3], np.int32)
TOKENS = np.array([[4, 5, 6, 7, 4, 5], [6, 0, 0, 0, 0, 0], [7, 7, 4, 0, 0, 0]], np.int32)
TARGETS = {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=tuple("abc"))}


def texts(length=6):
    tokens = Feature(Kind.TOKENS, (length,), "int32", vocabulary=tuple("01234567"))
    inputs = {"tokens": tokens, "length": Feature(Kind.LENGTH, (), "int32")}
    return Spec(inputs, TARGETS, Classification())


def transcribed(model, tokens):
    """Logits of one text without padding, int [L] -> [K]."""
    table, head = np.asarray(model.embedding.table[...], np.float64), model.head
    found = []
    for width, layer in zip(model.widths, model.filters, strict=True):
        kernel, bias = (np.asarray(p[...], np.float64) for p in (layer.kernel, layer.bias))
        zeros = np.zeros((width - 1, table.shape[1]))
        x = np.concatenate([zeros, table[tokens], zeros])
        windows = [np.einsum("we,wef->f", x[t : t + width], kernel[:, 0]) for t in range(len(x) - width + 1)]
        found.append(np.maximum(np.array(windows) + bias, 0).max(0))
    return np.concatenate(found) @ np.asarray(head.kernel[...], np.float64) + np.asarray(head.bias[...], np.float64)


@pytest.mark.parametrize("widths", [(3, 4, 5), (1, 2), (7,)])
def test_outputs_equal_the_formula_and_padding_is_not_seen(widths, filled, called, close):
    model = filled(lambda rngs: TextCNN(4, spec=texts(), rngs=rngs, widths=widths, embedding=5))
    model.eval()
    outputs, _ = called(model, {"tokens": TOKENS, "length": LENGTHS})
    for row, length in enumerate(LENGTHS):
        close(outputs[row], transcribed(model, TOKENS[row, :length]))
    padded = np.pad(TOKENS, ((0, 0), (0, 5)), constant_values=3)
    found, _ = called(model, {"tokens": padded, "length": LENGTHS})
    np.testing.assert_allclose(found, outputs, rtol=0, atol=1e-6 * np.abs(outputs).max())


def test_values_and_gradients_equal_those_of_torch(filled, differentiated, close):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference: pip install '.[reference]'")
    model = filled(lambda rngs: TextCNN(4, spec=texts(), rngs=rngs, widths=(2, 3), embedding=5), np.float64)
    model.eval()
    inputs = {"tokens": TOKENS[:1], "length": LENGTHS[:1]}
    outputs, gradients = differentiated(model, inputs)
    leaf = {
        name: torch.tensor(np.array(array[...]), dtype=torch.float64, requires_grad=True)
        for name, array in {
            "table": model.embedding.table,
            "head": model.head.kernel,
            **{f"kernel{i}": layer.kernel for i, layer in enumerate(model.filters)},
        }.items()
    }
    x, pooled = leaf["table"][torch.tensor(TOKENS[:1]).long()].permute(0, 2, 1), []
    for i, (width, layer) in enumerate(zip(model.widths, model.filters, strict=True)):
        kernel, bias = leaf[f"kernel{i}"][:, 0].permute(2, 1, 0), torch.tensor(np.array(layer.bias[...]))
        pooled.append(torch.relu(torch.nn.functional.conv1d(x, kernel, bias.double(), padding=width - 1)).amax(-1))
    expected = torch.cat(pooled, -1) @ leaf["head"] + torch.tensor(np.array(model.head.bias[...])).double()
    expected.square().sum().backward()
    close(outputs, expected.detach().numpy())
    close(np.asarray(gradients["embedding"]["table"]), leaf["table"].grad.numpy())
    close(np.asarray(gradients["filters"][1]["kernel"]), leaf["kernel1"].grad.numpy())


def test_other_data_is_refused(filled):
    ngrams = Spec({"ngrams": Feature(Kind.NGRAMS, (4,), "int32", buckets=9)}, TARGETS, Classification())
    with pytest.raises(ValueError, match=r"texts as n-grams for classification; choose data.tokens=words"):
        filled(lambda rngs: TextCNN(spec=ngrams, rngs=rngs))
    with pytest.raises(ValueError, match="needs at least one width"):
        filled(lambda rngs: TextCNN(spec=texts(), rngs=rngs, widths=()))
