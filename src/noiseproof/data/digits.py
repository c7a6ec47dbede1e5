"""The handwritten digits that come with scikit-learn: 1,797 grey images of 8 x 8 pixels.

No download, so everything can be tried at once. Source: Alpaydin and Kaynak (1998), "Optical
Recognition of Handwritten Digits", UCI; scikit-learn carries its test part.
"""

from pathlib import Path

import numpy as np

from noiseproof.data.dataset import Source, stratified_order, take
from noiseproof.extras import library
from noiseproof.types import Batch

NUM_TEST = 397
"""The part in scikit-learn has no published split; this leaves 1,400 images to cut further."""


def read_digits(_data_dir: Path | None = None) -> Source:
    """Reads the digits: 1,400 images to train on and 397 to test on, cut by a fixed order.

    The argument is there for the readers' common signature; the images lie in the package.
    """
    pixels, labels = library("sklearn.datasets", "The data set digits").load_digits(return_X_y=True)
    # 17 levels, 0 to 16, spread over the full range of a byte.
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    digits = Batch(images, labels.astype(np.int32))
    test, train = np.split(stratified_order(digits.labels), [NUM_TEST])
    return Source("digits", train=take(digits, train), test=take(digits, test), num_classes=10)
