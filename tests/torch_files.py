"""Files as `torch.save` writes them, made without PyTorch: in its three formats, honest or not."""

import io
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import PurePath

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {
    **{"float64": "Double", "float32": "Float", "float16": "Half", "bfloat16": "BFloat16"},
    **{"int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool"},
    **{"complex64": "ComplexFloat", "complex128": "ComplexDouble"},
}


class Global:
    """A name in a pickle; whether it exists does not matter."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        """pickle asks that what it writes as called can be called."""


class Call:
    """Written as a call of a name: `function(*arguments)`, and perhaps a state given to the result."""

    def __init__(self, function, *arguments, state=None):
        self.function, self.arguments, self.state = function, arguments, state


class Storage:
    """The bytes of an array, written outside of the pickle. `elements` may lie."""

    def __init__(self, array, kind=None, elements=None, view=None):
        self.array = np.array(array, order="C")
        self.kind = kind or f"{STORAGES[self.array.dtype.name]}Storage"
        self.elements = self.array.size if elements is None else elements
        self.view = view


class Identity:
    """Written as a persistent identity, whatever it is."""

    def __init__(self, identity):
        self.identity = identity


def tensor(storage, offset=0, size=None, stride=None, function="_rebuild_tensor_v2"):
    """A tensor that views a storage; by default all of it."""
    size = storage.array.shape if size is None else size
    if stride is None:
        stride = tuple(int(np.prod(size[axis + 1 :], dtype=int)) for axis in range(len(size)))
    return Call(Global("torch._utils", function), storage, offset, size, stride, False, OrderedDict())


def tensors(arrays):
    """A state_dict of arrays, each with a storage of its own."""
    return OrderedDict((name, tensor(Storage(array))) for name, array in arrays.items())


class Pickler(pickle._Pickler):
    """Writes names without looking them up, and gathers the storages that it meets."""

    def __init__(self, file, protocol=2, views=False):
        super().__init__(file, protocol)
        self.storages, self.views = [], views

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Global):
            return self.write(f"c{obj.module}\n{obj.name}\n".encode())
        return super().save(obj, save_persistent_id)

    def persistent_id(self, obj):
        if isinstance(obj, Identity):
            return obj.identity
        if not isinstance(obj, Storage):
            return None
        if obj not in self.storages:
            self.storages.append(obj)
        key = str(self.storages.index(obj))
        return ("storage", Global("torch", obj.kind), key, "cpu", obj.elements, *([obj.view] if self.views else []))

    def reducer_override(self, obj):
        if not isinstance(obj, Call):
            return NotImplemented
        return (obj.function, obj.arguments) if obj.state is None else (obj.function, obj.arguments, obj.state)


def pickled(thing, **options):
    """(bytes, storages) of a pickle."""
    file = io.BytesIO()
    pickler = Pickler(file, **options)
    pickler.dump(thing)
    return file.getvalue(), pickler.storages


def archive(thing, path, order="little", protocol=2, compression=zipfile.ZIP_STORED, data=None):
    """Write the zip format; `data` stands for the pickle."""
    written, storages = pickled(thing, protocol=protocol)
    root = PurePath(path).stem
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(f"{root}/data.pkl", written if data is None else data)
        file.writestr(f"{root}/byteorder", order)
        for key, storage in enumerate(storages):
            array = storage.array.byteswap() if order == "big" else storage.array
            file.writestr(f"{root}/data/{key}", array.tobytes())
        file.writestr(f"{root}/version", "3\n")


def sequence(thing, path, data=None):
    """Write the format before 1.6; `data` stands for the pickle."""
    written, storages = pickled(thing, views=True)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    with open(path, "wb") as file:
        for part in (MAGIC, 1001, system):
            pickle.dump(part, file, 2)
        file.write(written if data is None else data)
        pickle.dump([str(key) for key in range(len(storages))], file, 2)
        for storage in storages:
            file.write(struct.pack("<q", storage.array.size) + storage.array.tobytes())


def tar(arrays, path):
    """Write the format before 0.1.8: a state_dict of arrays, each a view of its storage from element 1 on."""
    storages, views = io.BytesIO(), io.BytesIO()
    for file in (storages, views):
        pickle.dump(len(arrays), file, 2)
    for key, array in enumerate(arrays.values()):
        kind = STORAGES[array.dtype.name]
        storages.write(pickled((key, "cpu", Global("torch", f"{kind}Storage")))[0])
        run = np.array([0, *array.flat], array.dtype)
        storages.write(struct.pack("<q", run.size) + run.tobytes())
        views.write(pickled((100 + key, key, Global("torch", f"{kind}Tensor")))[0])
        strides = [step // array.itemsize for step in np.array(array, order="C").strides]
        views.write(struct.pack(f"<ii{2 * array.ndim + 1}q", array.ndim, 0, *array.shape, *strides, 1))
    pickle.dump([], storages, 2)
    objects = pickled({name: Identity(str(100 + key)) for key, name in enumerate(arrays)})[0]
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as file:
        for name, content in {"storages": storages.getvalue(), "tensors": views.getvalue(), "pickle": objects}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


FORMATS = {"zip": archive, "sequence": sequence}
