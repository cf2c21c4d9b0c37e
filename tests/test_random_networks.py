"""Random networks convert to equal files, or are refused in one sentence.

A few fixed seeds; `python tests/random_networks.py` judges hundreds.
"""

import judging
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 13))
def test_random_networks(seed):
    row = judging.judged(seed)
    assert row["verdict"] in ("equal", "rounding", "refused"), row
