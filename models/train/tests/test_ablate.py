"""Every variant changes what it says it changes, and nothing else."""

import pytest

from sift_train.ablate import changed, markdown, variants


def test_every_variant_changes_keys_that_there_are(config):
    known = variants()
    shared = known.pop("as configured")
    assert shared["training"]["steps"] < config["training"]["steps"]
    for name, changes in known.items():
        assert changes["training"].items() >= shared["training"].items(), f"{name}: as many steps for all"
        assert changed(config, changes) != changed(config, shared), name


def test_a_slip_of_the_pen_is_named(config):
    with pytest.raises(KeyError, match="mixing.*qestions"):
        changed(config, {"mixing": {"qestions": 1}})


def test_the_table_has_a_row_a_variant():
    figures = {"sdri": 1.0, "si_sdr": 2.0, "si_sdr_10th_percentile": -3.0, "instruments_si_sdr": 4.0, "absent": -5.0}
    assert markdown({"as configured": figures}).splitlines()[-1] == (
        "| as configured | 1.00 | 2.00 | -3.00 | 4.00 | -5.0 |"
    )
