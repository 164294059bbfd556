"""By how much scores of attention fall with the distance of two tokens, where positions enter in no other way.

Source: Press et al. 2022 (Train short, test long: ALiBi); for head counts that are no power of two, its appendix and
llama.cpp, ggml-cpu (`ggml_compute_forward_soft_max`).
"""

import numpy as np
import numpy.typing as npt


def slopes_of(head_count: int, distance_bias: float) -> npt.NDArray[np.float32]:
    """Returns what each head takes off a score for each position of distance: float32 (heads,).

    For a power of two of heads that is a geometric sequence down to 2^-distance_bias. Further heads have the slopes
    between those that twice as many heads would have.
    """
    whole = 1 << (head_count.bit_length() - 1)
    heads = np.arange(head_count)
    exponents = np.where(heads < whole, heads + 1.0, heads - whole + 0.5) * (distance_bias / whole)
    return np.asarray(2.0**-exponents, np.float32)
