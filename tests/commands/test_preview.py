"""The contact sheet: a row per corruption, six cells each, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from noiseproof.commands import preview
from noiseproof.data import load_dataset


@pytest.mark.parametrize(("dataset", "side"), [("cifar-10", 64), ("mnist", 84)])
def test_a_sheet_shows_the_clean_image_and_five_severities(small_data_dir, tmp_path, dataset, side):
    reports = []
    out = preview.preview(
        dataset,
        tmp_path / "sheet.PNG",
        data_dir=small_data_dir,
        corruptions=("contrast", "stripe"),
        image=2,
        report=lambda *report: reports.append(report),
    )
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (20 + 2 * (side + 4), 130 + 6 * (side + 4), 3)
    clean = load_dataset(dataset, data_dir=small_data_dir).test.images[2]
    factor = side // clean.shape[0]
    large = np.broadcast_to(np.kron(clean, np.ones((factor, factor, 1))), (side, side, 3))
    np.testing.assert_array_equal(sheet[20 : 20 + side, 130 : 130 + side], large)
    stripes = sheet[20 + side + 4 :][:side, 130 + 5 * (side + 4) :][:, :factor]
    np.testing.assert_array_equal(stripes, 255 - large[:, :factor])
    assert reports == [("contrast", 1, 2), ("stripe", 2, 2)]


def test_a_long_name_has_room():
    rows = [np.zeros((6, 8, 8, 1), np.uint8)]
    narrow, wide = (
        preview.draw_sheet((name,), rows).width
        for name in ("fog", "imagenet/elastic_transform_too")
    )
    assert narrow == 130 + 6 * (64 + 4)
    assert wide > narrow


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "sheet.npy"}, "must be a picture such as sheet.png, got 'sheet.npy'"),
        ({"image": 20}, "image must lie between 0 and 19, got 20"),
        ({"corruptions": ("mist",)}, "corruption 'mist' is unknown"),
        ({"corruptions": ("saturate",)}, "'saturate' needs color images, and these are grey"),
        ({"out": "deep/sheet.png"}, r"folder of the sheet must exist, got '.*deep'"),
        ({"seed": 2**32}, r"a seed from 0 to 2\*\*32 - 1, got 4294967296"),
    ],
    ids=["ending", "image", "name", "grey", "folder", "seed"],
)
def test_what_is_refused_writes_nothing(small_data_dir, tmp_path, options, words):
    options = {"out": "sheet.png"} | options
    out = tmp_path / options.pop("out")
    with pytest.raises(ValueError, match=words):
        preview.preview("mnist", out, data_dir=small_data_dir, **options)
    assert list(tmp_path.iterdir()) == []
