"""The rule for each operation, by its name in `torch.ops.aten`. Element-wise operations are known by their tag."""

from collections.abc import Callable
from typing import Any

from isthmus.models.permutations import layers, shapes
from isthmus.models.permutations.call import Call


def _rules() -> dict[str, Callable[[Call], Any]]:
    """The rules by the name of an operation."""
    named: dict[Callable[[Call], Any], str] = {
        layers.elementwise: "copy_ _prelu_kernel hardswish hardswish_ mish_ native_dropout",
        shapes.same: "alias detach clone contiguous _to_copy lift_fresh fill_ zero_",
        layers.softmax: "_softmax _safe_softmax _log_softmax",
        shapes.reshape: "view _unsafe_view reshape _reshape_alias squeeze unsqueeze",
        shapes.transpose: "t transpose permute",
        shapes.expand: "expand",
        shapes.repeat: "repeat",
        layers.reduce: "mean sum amax amin prod var std logsumexp linalg_vector_norm norm var_mean std_mean all any",
        layers.extreme: "max min",
        shapes.ordered: "cumsum roll flip",
        layers.pad: "constant_pad_nd",
        layers.pool: (
            "max_pool2d_with_indices avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d mkldnn_adaptive_avg_pool2d "
            "max_pool3d_with_indices avg_pool3d upsample_nearest2d upsample_bilinear2d upsample_bicubic2d"
        ),
        shapes.select: "select",
        shapes.index: "index index_select",
        shapes.look_up: "embedding",
        shapes.piece: "slice",
        shapes.pieces: "split split_with_sizes unbind",
        shapes.glu: "glu",
        shapes.concatenate: "cat stack",
        layers.product: "mm addmm bmm baddbmm mv addmv dot",
        layers.convolve: "convolution",
        layers.normalize_channels: "native_batch_norm native_group_norm",
        layers.normalize_layer: "native_layer_norm _fused_rms_norm",
    }
    return {name: rule for rule, names in named.items() for name in names.split()}


RULES = _rules()
