"""The planning tables hold what the functions behind them say."""

from __future__ import annotations

import pytest

from leakbench.statistics import (
    auc_half_width,
    auc_images,
    auc_images_to_see,
    list_attainable,
    list_required_images,
    ranked_images,
    smallest_detectable_auc,
    smallest_detectable_tpr,
    tpr_half_width,
    tpr_images,
    tpr_images_to_see,
)


def test_needs_in_words_and_numbers():
    found = {need.wanted: need.images for need in list_required_images(0.6, 0.02, 0.01, 0.3)}
    assert found == {
        "AUC 0.6, to +-0.02": auc_images(0.6, 0.02),
        "AUC 0.6, told from 0.5": auc_images_to_see(0.6),
        "TPR 30 % at FPR 1 %, to +-2 %": tpr_images(0.3, 0.01, 0.02),
        "TPR 30 % at FPR 1 %, told from 1 %": tpr_images_to_see(0.3, 0.01),
        "any TPR at FPR 1 %, enough to rank by it": ranked_images(0.01),
    }


def test_what_images_give():
    small, large = list_attainable(0.6, 0.01, 0.3, [100, 2500])
    assert (small.images, small.least_tpr) == (100, None)
    assert (large.auc_half_width, large.least_auc) == (auc_half_width(0.6, 2500), smallest_detectable_auc(2500))
    assert large.tpr_half_width == tpr_half_width(0.3, 0.01, 2500)
    assert large.least_tpr == smallest_detectable_tpr(0.01, 2500, 2500)


@pytest.mark.parametrize("wrong", [(0.5, 0.02, 0.01, 0.3), (0.6, 0.0, 0.01, 0.3), (0.6, 0.02, 0.3, 0.3)])
def test_refuses_nonsense(wrong):
    with pytest.raises(ValueError):
        list_required_images(*wrong)
