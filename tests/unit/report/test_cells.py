"""How numbers are printed, by hand."""

import numpy as np
import pytest

from thorax.report.cells import Cell, Mark, cell, difference, interval, printed, record

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "how", "text"),
    [
        (0.8404, {}, "0.840"),
        (np.float64(0.525), {"decimals": 2}, "0.53"),  # as Python rounds; numpy gives 0.52
        (-0.0002, {}, "0.000"),
        (-0.0002, {"sign": True}, "+0.000"),
        (-0.05, {"sign": True}, "-0.050"),
        (12345.4, {"decimals": 0}, "12,345"),
        (NAN, {}, "–"),
        (NAN, {"undefined": ""}, ""),
    ],
)
def test_numbers_are_printed(value, how, text):
    assert printed(value, **how) == text


def test_a_difference_is_that_of_the_numbers_as_printed():
    assert difference(0.6004, 0.5996) == 0
    assert difference(0.6006, 0.5996) == 0.001
    assert np.isnan(difference(NAN, 0.5))


def test_an_interval_is_below_the_number():
    number = (0.84, 0.83, 0.8604)
    assert interval(*number[1:]) == "0.830–0.860"
    assert cell(number, Mark(bold=True)) == Cell("0.840", bold=True, detail="0.830–0.860")
    assert cell((0.84, NAN, NAN)) == Cell("0.840")
    assert cell((NAN, NAN, NAN), Mark(bold=True, italic=True)) == Cell("–")
    assert record("auc", number) == {"auc": 0.84, "auc low": 0.83, "auc high": 0.8604}
