"""Weights in files: they come back as they were, a kill leaves one of two files, and no file can do harm."""

import json
import signal
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest
import torch_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import REPOSITORY, command
from torch_files import FORMATS, Call, Global, Identity, Storage, tensor, tensors

from numconv.extras import MissingExtra
from numconv.files import pickles
from numconv.nn._files import load, load_metadata, match, save

SUFFIXES = [".npz", ".safetensors"]
RNG = np.random.default_rng(0)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [
    *("float64", "float32", "float16", BFLOAT16, "int64", "int32", "int16", "int8", "uint8", "bool", "complex64"),
]
STATE = {
    "features.0.weight": RNG.standard_normal((4, 3, 3, 3), dtype=np.float32),
    "features.0.bias": RNG.standard_normal(4),
    "bn.num_batches_tracked": np.array(7, np.int64),
    "a.half": np.arange(5).astype(np.float16),
    "a.bfloat16": np.arange(6).reshape(2, 3).astype(BFLOAT16),
    "a.float8": np.arange(4).astype(ml_dtypes.float8_e4m3fn),
    "mask": np.array([True, False, True]),
    "empty": np.zeros((0, 3), np.float32),
    "spectrum": (np.arange(3) + 1j).astype(np.complex64),
    "big": np.arange(3, dtype=">i4"),
    "strided": np.arange(24, dtype=np.uint16).reshape(4, 6)[::2, ::-1],
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}


def same(actual, expected):
    """The arrays are the same to the bit, in the same order, and can be written to."""
    assert list(actual) == list(expected)
    for name, array in expected.items():
        found = actual[name]
        assert (found.shape, found.dtype) == (array.shape, array.dtype.newbyteorder("=")), name
        assert found.tobytes() == array.astype(found.dtype).tobytes(), name
        assert found.flags.writeable, name


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_come_back_as_they_were(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    state = {name: array for name, array in STATE.items() if suffix == ".npz" or name != "a.float8"}
    save(state, path)
    same(load(path), state)
    assert load_metadata(path) == {}
    save({}, path)
    assert load(path) == {}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_texts_are_kept_beside_the_arrays(tmp_path, suffix):
    path = str(tmp_path / f"weights{suffix}")
    notes = {"epoch": "3", "classes": json.dumps(["Zürich", "猫"])}
    save({"w": np.ones(2)}, path, notes)
    assert load_metadata(path) == notes
    assert list(load(path)) == ["w"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["../../up", "/root", "file", "a.npy", "a/b", "C:\\x", "", ".", "ü", "a b"])
def test_any_name_is_only_a_name(tmp_path, suffix, name):
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / f"weights{suffix}"
    state = {name: np.ones(2), "a": np.zeros(3)}
    save(state, path)
    same(load(path), state)
    assert [p.name for p in tmp_path.rglob("*")] == ["inner", path.name]


def test_other_programs_read_what_is_saved(tmp_path):
    from safetensors.numpy import load_file

    plain = {name: STATE[name] for name in ("features.0.weight", "bn.num_batches_tracked", "mask")}
    save(plain, tmp_path / "weights.npz")
    with np.load(tmp_path / "weights.npz", allow_pickle=False) as file:
        same({name: file[name] for name in file}, plain)
    save(plain, tmp_path / "weights.safetensors")
    same({name: load_file(tmp_path / "weights.safetensors")[name] for name in plain}, plain)


def test_what_numpy_saves_is_read(tmp_path):
    plain = {"b": np.arange(6.0).reshape(2, 3), "a": np.array(3)}
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "weights.npz", **plain)
        same(load(tmp_path / "weights.npz"), plain)


@pytest.mark.parametrize(
    ("state", "name", "error", "says"),
    [
        ({"w": np.ones(1)}, "weights.bin", ValueError, r"path must end in .safetensors, .npz, got .*weights\.bin"),
        ({"w": np.ones(1)}, "weights.pth", ValueError, "path must end in"),
        ({"w": [1.0]}, "weights.npz", TypeError, r"state\['w'\] must be an array of numbers, got list"),
        ({"w": np.array([None])}, "weights.npz", TypeError, "got object"),
        ({"w": np.array(["a"])}, "weights.npz", TypeError, "got <U1"),
        ([np.ones(1)], "weights.npz", TypeError, "state must be a mapping of names, got list"),
        ({1: np.ones(1)}, "weights.npz", TypeError, "state must be a mapping"),
        ({"a\0b": np.ones(1)}, "weights.npz", ValueError, "no NUL"),
        ({"__metadata__": np.ones(1)}, "weights.safetensors", ValueError, "'__metadata__'"),
        ({"w": np.ones(1, complex)}, "weights.safetensors", TypeError, "complex128, which does not come back"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_leaves_the_old_file(tmp_path, state, name, error, says):
    path = tmp_path / name
    path.write_bytes(b"old")
    with pytest.raises(error, match=says):
        save(state, path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(name, b"old")]


def test_metadata_are_texts(tmp_path):
    with pytest.raises(TypeError, match="metadata must hold texts only"):
        save({}, tmp_path / "weights.npz", {"epoch": 3})


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("point", "survivor"), [("fsync", 1), ("replace", 1), ("end", 2)])
def test_a_kill_leaves_the_old_file_or_the_new(tmp_path, suffix, point, survivor):
    code = f"""
import os, signal
import numpy as np
from numconv.nn._files import save
path = {str(tmp_path / f"weights{suffix}")!r}
save({{"w": np.full(100_000, 1)}}, path)
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
if {point!r} != "end":
    os.{point if point != "end" else "replace"} = die
save({{"w": np.full(200_000, 2)}}, path)
die()
"""
    (tmp_path / "code.py").write_text(code)
    done = subprocess.run(**command(tmp_path / "code.py", REPOSITORY), timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stdout
    assert set(load(tmp_path / f"weights{suffix}")["w"]) == {survivor}


def test_a_link_stays_a_link_and_rights_stay(tmp_path):
    real, link = tmp_path / "real.npz", tmp_path / "link.npz"
    save({"w": np.ones(1)}, real)
    real.chmod(0o640)
    link.symlink_to(real)
    save({"w": np.ones(2)}, link)
    assert link.is_symlink()
    assert load(real)["w"].size == 2
    assert real.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("suffix", "library"), [(".safetensors", "safetensors"), (".npz", "ml_dtypes")])
def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, suffix, library):
    path = tmp_path / f"weights{suffix}"
    save({"w": np.ones(2, BFLOAT16)}, path)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf"{library} is missing: pip install numconv\[nn\]"):
        load(path)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_of_every_dtype_are_read(tmp_path, form, dtype):
    state = {"w": (np.arange(12) % 2).astype(dtype).reshape(3, 4), "scalar": np.array(1).astype(dtype)}
    FORMATS[form](tensors(state), tmp_path / "w.pth")
    same(load(tmp_path / "w.pth"), state)


@pytest.mark.parametrize("form", FORMATS)
def test_views_share_their_storage(tmp_path, form):
    storage = Storage(np.arange(24, dtype=np.float32))
    things = {
        "all": tensor(storage, size=(4, 6)),
        "transposed": tensor(storage, size=(6, 4), stride=(1, 6)),
        "part": tensor(storage, 7, (3, 2), (6, 3)),
        "repeated": tensor(storage, 5, (3,), (0,)),
        "empty": tensor(storage, 24, (0, 3), (3, 1)),
        "scalar": tensor(storage, 23, (), ()),
    }
    FORMATS[form](things, tmp_path / "w.pt")
    found = load(tmp_path / "w.pt")
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.testing.assert_array_equal(found["all"], whole)
    np.testing.assert_array_equal(found["transposed"], whole.T)
    np.testing.assert_array_equal(found["part"], whole[1:, 1::3])
    np.testing.assert_array_equal(found["repeated"], [5, 5, 5])
    assert found["empty"].shape == (0, 3)
    assert found["scalar"] == 23
    found["all"][1, 1] = -1
    assert found["part"][0, 0] == found["transposed"][1, 1] == -1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_other_byte_order_is_swapped(tmp_path, dtype):
    state = {"w": (np.arange(5) % 2).astype(dtype)}
    torch_files.archive(tensors(state), tmp_path / "w.pth", order="big")
    same(load(tmp_path / "w.pth"), state)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_containers_are_read_in_every_protocol(tmp_path, protocol):
    shared = [1, 2**70, -3.5]
    things = {
        "epoch": 7,
        "texts": ("Zürich", "", "it's\n"),
        "bytes": b"\0\xff",
        "nested": [{"a": None, 1: True}, (False, 1 + 2j), OrderedDict(b=2, a=1)],
        "sets": [{1, "a"}, frozenset({2})],
        "shared": [shared, shared],
    }
    torch_files.archive(things, tmp_path / "w.pth", protocol=protocol)
    found = load(tmp_path / "w.pth")
    assert found == things
    assert list(found["nested"][2]) == ["b", "a"]
    assert found["shared"][0] is found["shared"][1]


@pytest.mark.parametrize("form", FORMATS)
def test_parameters_are_tensors_in_their_new_form_and_in_that_of_2017(tmp_path, form):
    storage = Storage(np.arange(6.0))
    inner = tensor(storage, 0, (2, 3), (3, 1))
    old = Call(Global("torch", "DoubleTensor"), state=(storage, 0, (2, 3), (3, 1)))
    metadata = Call(Global("collections", "OrderedDict"), state={"_metadata": {"": {"version": 1}}})
    things = {
        "new": Call(Global("torch._utils", "_rebuild_parameter"), inner, True, OrderedDict()),
        "old": Call(Global("torch.nn.parameter", "Parameter"), inner, state=(True, False, OrderedDict())),
        "older": old,
        "first": Call(Global("torch._utils", "_rebuild_tensor"), storage, 0, (2, 3), (3, 1)),
        "metadata": metadata,
    }
    FORMATS[form](things, tmp_path / "w.pth")
    found = load(tmp_path / "w.pth")
    assert found.pop("metadata") == {}
    for name, array in found.items():
        np.testing.assert_array_equal(array, np.arange(6.0).reshape(2, 3), err_msg=name)


def test_dtypes_without_a_storage_class_are_views_of_bytes(tmp_path):
    numbers = np.array([1, 2**40], np.uint64)
    storage = Storage(numbers.view(np.uint8), kind="UntypedStorage")
    function = Global("torch._utils", "_rebuild_tensor_v3")
    thing = Call(function, storage, 1, (1,), (1,), False, OrderedDict(), Global("torch", "uint64"))
    torch_files.archive({"w": thing}, tmp_path / "w.pth")
    same(load(tmp_path / "w.pth"), {"w": numbers[1:]})


def test_views_of_storages_in_old_files(tmp_path):
    storage = Storage(np.arange(9, dtype=np.int16), view=("part", 2, 5))
    torch_files.sequence({"w": tensor(storage, 1, (2,), (2,))}, tmp_path / "w.pth")
    same(load(tmp_path / "w.pth"), {"w": np.array([3, 5], np.int16)})


def test_tar_archives_of_2016(tmp_path):
    state = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(2), "s": np.array(2.5)}
    torch_files.tar(state, tmp_path / "w.pth")
    same(load(tmp_path / "w.pth"), state)


W = Storage(np.arange(6, dtype=np.float32))
LOOP: list = []
LOOP.append(LOOP)
DEEP: list = []
for _ in range(120):
    DEEP = [DEEP]
HOSTILE = {
    "runs a command": (Call(Global("os", "system"), "touch ran"), "names 'os.system', which is neither a tensor nor"),
    "evaluates": (Call(Global("builtins", "eval"), "open('ran', 'w')"), "names 'builtins.eval'"),
    "gets an attribute": (Call(Global("builtins", "getattr"), "a", "upper"), "names 'builtins.getattr'"),
    "a whole model": (Call(Global("torchvision.models", "ResNet")), "save the state_dict"),
    "sparse": (Call(Global("torch._utils", "_rebuild_sparse_tensor"), 1, 2), "names 'torch._utils._rebuild_sparse"),
    "calls a value": (Call(Global("torch", "FloatStorage")), "name expected, Kind found"),
    "a storage alone": (W, "holds a Storage where a tensor is expected"),
    "a name alone": (Global("collections", "OrderedDict"), "holds a Name"),
    "a tensor of nothing": (tensor([], size=(1,)), "a tensor has no storage"),
    "negative size": (tensor(W, 0, (-1,), (1,)), "has -1 for"),
    "negative stride": (tensor(W, 5, (2,), (-1,)), "has -1 for"),
    "negative offset": (tensor(W, -1, (2,), (1,)), "has -1 for"),
    "a size that is no number": (tensor(W, 0, (1.5,), (1,)), "has 1.5 for"),
    "a size that is no tuple": (tensor(W, 0, 6, 1), "is not iterable|must be an iterable"),
    "too few strides": (tensor(W, 0, (2, 3), (1,)), "2 sizes and 1 strides"),
    "too many axes": (tensor(W, 0, (1,) * 65, (1,) * 65), "at most 64 are read"),
    "beyond its storage": (tensor(W, 1, (6,), (1,)), "needs 7 elements of float32, its storage has 24 bytes"),
    "huge": (tensor(W, 0, (2**40,), (1,)), "needs 1099511627776 elements"),
    "huge repeated": (tensor(W, 0, (2**40, 2**40), (0, 0)), "too big|broken"),
    "huge empty": (tensor(W, 0, (0, 2**70), (1, 1)), "broken"),
    "a storage that declares more": (tensor(Storage(np.ones(2), elements=2**40), 0, (1,), (1,)), "expected|elements"),
    "a storage that declares less": (tensor(Storage(np.ones(2), elements=1), 0, (1,), (1,)), "expected"),
    "a storage of negative size": (tensor(Storage(np.ones(2), elements=-2), 0, (1,), (1,)), "has -2 for"),
    "an unknown storage": (tensor(Storage(np.ones(2), kind="QInt8Storage")), "names 'torch.QInt8Storage'"),
    "an identity that is none": (Identity(7), "refers to 7, which is no storage"),
    "a key that is a tuple": (
        Identity(("storage", Global("torch", "FloatStorage"), ((),), "cpu", 1)),
        "has a tuple for a key",
    ),
    "a loop": (LOOP, "contain themselves"),
    "deep": (DEEP, "nested more than 100 deep"),
    "a tuple for a key": ({(1, (2,)): 1}, "a key of type tuple"),
    "integers that share a hash": ({n * (2**61 - 1): 1 for n in range(20)}, "a key of type int, or too large"),
    "a truth value that is none": (
        tensor(Storage(np.array([2], np.uint8), kind="BoolStorage")),
        "neither 0 nor 1",
    ),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_objects_are_refused(tmp_path, monkeypatch, form, name):
    monkeypatch.chdir(tmp_path)
    thing, says = HOSTILE[name]
    FORMATS[form](thing, "w.pth")
    refused(tmp_path / "w.pth", says)
    assert not (tmp_path / "ran").exists()


def refused(path, says=""):
    """Loading is a ValueError that names the file, and takes little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"(?s){path.name}.*({says})"):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


PROGRAMS = {
    "an empty program": (b"", "exhausted"),
    "no pickle": (b"hello", ""),
    "nothing left": (b"\x80\x02.", "leaves nothing"),
    "a stack that is empty": (b"\x80\x02a.", "makes no sense at byte [0-9]+: APPEND"),
    "no mark": (b"\x80\x02e.", "makes no sense"),
    "a memory that is empty": (b"\x80\x02h\x07.", "makes no sense"),
    "a long text": (b"\x80\x02X\xff\xff\xff\xffabc", "expected 4294967295 bytes"),
    "a longer text": (b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"abc", "expected 1152921504606846976 bytes"),
    "a long number": (b"\x80\x02\x8b\xff\xff\xff\x7f1", "not enough data"),
    "a far place in memory": (b"\x80\x02Nr\xff\xff\xff\xff0.", "leaves nothing"),
    "an attribute of a call": (b"\x80\x02ccollections\nOrderedDict\n}X\x04\0\0\0callNsb.", "gives a state to a Name"),
    "appended to a dict": (b"\x80\x02}Na.", "list expected, dict found"),
    "an odd number of items": (b"\x80\x02}(Nu.", "makes no sense|argument"),
    "an object": (b"(i__main__\nX\n.", "uses INST"),
    "an extension": (b"\x80\x02\x82\x01.", "uses EXT1"),
    "deep beyond any stack": (b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".", "nested more than 100 deep"),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_hostile_pickles_are_refused(tmp_path, form, name):
    program, says = PROGRAMS[name]
    FORMATS[form]({}, tmp_path / "w.pth", data=program)
    refused(tmp_path / "w.pth", says)


def test_endless_pickles_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "STEPS", 1000)
    torch_files.archive({}, tmp_path / "w.pth", data=b"\x80\x02" + b"]0" * 600 + b".")
    refused(tmp_path / "w.pth", "more than 1000 steps")


def zipped(path, **options):
    torch_files.archive({"w": tensor(W)}, path, **options)


def twice(path):
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as file:
        for _ in range(2):
            file.writestr("w/data.pkl", b"")


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("w.npy", npy_header((2**27,)) + bytes(2**27))


def npy_header(shape, descr="|u1", more=b""):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + more
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def member(path, content, name="w.npy", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(name, content)


def notes(path, text):
    save({"w": np.ones(2, np.uint16)}, path)
    with zipfile.ZipFile(path, "a") as file, file.open("__numconv__.npy", "w") as stream:
        np.lib.format.write_array(stream, np.array(text))


def encrypted(path):
    zipped(path)
    data = bytearray(path.read_bytes())
    for start in (data.index(b"PK\x01\x02") + 8, data.index(b"PK\x03\x04") + 6):
        data[start] |= 1
    path.write_bytes(data)


def overlapping(path):
    """Two hundred members that are all the same bytes of the file."""
    member(path, bytes(100_000))
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    record = data[start:end]
    records = b"".join(record.replace(b"w.npy", b"w%03d." % n) for n in range(200))
    counts = struct.pack("<HHII", 200, 200, len(records), start)
    path.write_bytes(data[:start] + records + data[end : end + 8] + counts + data[end + 20 :])


def header(path, size, text):
    path.write_bytes(struct.pack("<Q", size) + text)


def safetensors(path, shape, start, end, dtype="F32", name="w"):
    text = json.dumps({name: {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))


BROKEN = {
    "empty.pth": (lambda path: path.write_bytes(b""), "not a file of torch.save"),
    "text.pth": (lambda path: path.write_bytes(b"hello\n"), "not a file of torch.save"),
    "pickle.pth": (lambda path: path.write_bytes(b"\x80\x02}."), "a pickle, and not of torch.save"),
    "zip.pth": (lambda path: member(path, b"x", "a.txt"), "a zip archive without a NAME/data.pkl"),
    "start.pth": (lambda path: path.write_bytes(b"PK\x03\x04"), "not a zip file"),
    "order.pth": (lambda path: zipped(path, order="middle"), "its byte order is 'middle'"),
    "deflated.pth": (lambda path: zipped(path, compression=zipfile.ZIP_DEFLATED), "compressed by a method"),
    "encrypted.pth": (encrypted, "is encrypted"),
    "twice.pth": (twice, "is there twice"),
    "overlap.npz": (overlapping, "its members hold 20000.* bytes, the file|broken"),
    "bomb.npz": (bomb, "more than 100 times as many"),
    "method.npz": (lambda path: member(path, b"", compression=zipfile.ZIP_LZMA), "compressed by a method"),
    "magic.npz": (lambda path: member(path, b"hello"), "broken"),
    "text.npz": (lambda path: path.write_text("hello"), "not a zip file"),
    "version.npz": (lambda path: member(path, b"\x93NUMPY\x09\x00"), "version .9, 0. of the npy format"),
    "huge.npz": (lambda path: member(path, npy_header((2**40,))), "1099511627776.* of uint8, and holds 0 bytes"),
    "negative.npz": (lambda path: member(path, npy_header((-1,))), "holds 0 bytes"),
    "objects.npz": (lambda path: member(path, npy_header((1,), "|O") + bytes(8)), "holds object: only numbers"),
    "records.npz": (lambda path: member(path, npy_header((1,), [("a", "<i4")]) + bytes(4)), "only numbers"),
    "code.npz": (lambda path: member(path, npy_header("__import__('os').system('touch ran')")), "broken"),
    "notes.npz": (lambda path: notes(path, '{"dtypes": {"x": "bfloat16"}, "metadata": {}}'), "says that 'x'"),
    "dtypes.npz": (lambda path: notes(path, '{"dtypes": {"w": "object"}, "metadata": {}}'), "'w' is 'object'"),
    "lists.npz": (lambda path: notes(path, "[]"), "must hold names and texts"),
    "json.npz": (lambda path: notes(path, "[" * 100_000), "broken"),
    "tar.pth": (lambda path: path.write_bytes(bytes(257) + b"ustar" + bytes(600)), "broken"),
    "empty.safetensors": (lambda path: path.write_bytes(b""), "header too small|broken"),
    "huge.safetensors": (lambda path: header(path, 2**60, b"{}"), "header too large"),
    "json.safetensors": (lambda path: header(path, 4, b"[[[["), "broken"),
    "shape.safetensors": (lambda path: safetensors(path, [2**40], 0, 8), "broken"),
    "offsets.safetensors": (lambda path: safetensors(path, [2**40], 0, 2**42), "broken"),
    "negative.safetensors": (lambda path: safetensors(path, [-2], 0, 8), "broken"),
    "dtype.safetensors": (lambda path: safetensors(path, [2], 0, 8, "OBJECT"), "broken"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write, says = BROKEN[name]
    write(tmp_path / name)
    refused(tmp_path / name, says)
    assert not (tmp_path / "ran").exists()


def test_files_that_are_missing_or_of_another_kind(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "w.npz")
    with pytest.raises(ValueError, match=r"path must end in .safetensors, .npz, .pth, .pt, got .*w\.pkl"):
        load(tmp_path / "w.pkl")


SMALL = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([True, False])}


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The bytes of a small file of each kind, by suffix."""
    folder = tmp_path_factory.mktemp("honest")
    for suffix in SUFFIXES:
        save(SMALL, folder / f"w{suffix}", {"epoch": "1"})
    torch_files.archive(tensors(SMALL), folder / "zip.pth")
    torch_files.sequence(tensors(SMALL), folder / "sequence.pth")
    torch_files.tar(SMALL, folder / "tar.pth")
    for path in folder.iterdir():
        same(load(path), SMALL)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["w.npz", "w.safetensors", "zip.pth", "sequence.pth", "tar.pth"])
@pytest.mark.filterwarnings("ignore:invalid escape:DeprecationWarning")  # pickletools, of damaged texts
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_load_or_are_refused(tmp_path, honest, name, data):
    """Whatever bytes are changed, cut out or put in: a ValueError that names the file, or arrays."""
    content = bytearray(honest[name])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(start + 8, len(content))))
        content[start:stop] = data.draw(st.binary(max_size=8))
    path = tmp_path / name
    path.write_bytes(content)
    tracemalloc.start()
    try:
        load(path)
    except ValueError as error:
        assert name in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 100 << 20


@pytest.mark.parametrize("name", ["w.npz", "w.safetensors", "zip.pth", "sequence.pth"])
def test_files_that_end_too_early_are_refused(tmp_path, honest, name):
    for length in range(0, len(honest[name]), 7):
        (tmp_path / name).write_bytes(honest[name][:length])
        refused(tmp_path / name)


def test_match_lists_what_does_not_fit():
    expected = {"a": ((2, 3), np.float32), "b": ((), np.int64), "c": ((1,), np.float32), "d": ((2,), np.float32)}
    given = {
        "a": np.zeros((3, 2)),
        "b": np.zeros((), np.float32),
        "c": np.zeros(1, BFLOAT16),
        "e": np.zeros(1),
        "f": np.zeros(1),
    }
    sizes = [
        "size mismatch for a: got shape (3, 2), expected (2, 3).",
        "dtype mismatch for b: got float32, expected int64.",
    ]
    names = ["Unexpected key(s) in state_dict: 'e', 'f'.", "Missing key(s) in state_dict: 'd'."]
    assert match(expected, given) == names + sizes
    assert match(expected, given, strict=False) == sizes
    assert match({"a": ((2,), np.float32)}, {"a": np.zeros(2)}) == []
