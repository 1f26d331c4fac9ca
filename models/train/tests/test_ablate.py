"""The variants of the ablation study."""

import pytest

from sift_train.ablate import apply_changes, make_markdown, read_variants


def test_variants_change_known_keys(config):
    known = read_variants()
    shared = known.pop("as configured")
    assert shared["training"]["steps"] < config["training"]["steps"]
    for name, changes in known.items():
        assert changes["training"].items() >= shared["training"].items(), f"{name}: the same number of steps"
        assert apply_changes(config, changes) != apply_changes(config, shared), name


def test_error_names_an_unknown_key(config):
    with pytest.raises(KeyError, match=r"mixing.*qestions"):
        apply_changes(config, {"mixing": {"qestions": 1}})


def test_table_has_a_row_per_variant():
    figures = {"sdri": 1.0, "si_sdr": 2.0, "si_sdr_10th_percentile": -3.0, "instruments_si_sdr": 4.0, "absent": -5.0}
    assert make_markdown({"as configured": figures}).splitlines()[-1] == (
        "| as configured | 1.00 | 2.00 | -3.00 | 4.00 | -5.0 |"
    )
