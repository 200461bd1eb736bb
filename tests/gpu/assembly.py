"""What a kernel was compiled to; a test is skipped where the assembler is not installed."""

import pytest

from numconv.extras import MissingExtra
from numconv.lab import sass

ARCHITECTURES = ((9, 0), (8, 0))


def assembled(kernel, types, cc) -> sass.Code:
    """`sass.assembled`."""
    try:
        return sass.assembled(kernel, types, cc)
    except MissingExtra as error:
        pytest.skip(str(error))
