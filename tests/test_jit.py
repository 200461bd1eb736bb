"""Compiling and the cache of compiled kernels: processes that follow each other, race, and find broken things."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from processes import command, copy_package, run

from numconv.kernels.cpu import jit

HELPER = "OFFSET = 10\n"
# Kernels that close over an intrinsic and over another compiled function, each made by a factory.
TOY = """
import functools
from numba.core import types
from numba.extending import intrinsic
from numconv.kernels.cpu import jit
from numconv.kernels.cpu.toy_helper import OFFSET

def scaled(factor):
    @intrinsic
    def scale(typing, x):
        def generate(context, builder, signature, arguments):
            return builder.fmul(arguments[0], context.get_constant(types.float64, factor))
        return types.float64(types.float64), generate
    return scale

@jit.function
def affine(factor):
    scale = scaled(factor)
    def f(x):
        return scale(x) + OFFSET
    return f

@jit.kernel
def transform(factor):
    f, scale = affine(factor), scaled(1)
    def body(start, stop, worker, x, out):
        for i in range(start, stop):
            out[i] = scale(f(x[i]))
    return body
"""
PROGRAM = """
import json, sys
import numpy as np
from numconv.kernels.cpu import jit, toy
x = np.arange(6.0)
factors = [int(word) for word in sys.argv[1:] or ["2"]]
serial, parallel = np.zeros((2, len(factors), 6))
for workers, out in (1, serial), (3, parallel):
    for factor, row in zip(factors, out):
        toy.transform(factor)(workers, 6, x, row)
assert (serial == parallel).all()
print(json.dumps({"results": serial.tolist(), **jit.cache_info()}))
"""
X = np.arange(6.0)


class Installation:
    """A copy of the package with the toy kernels, a cache, and a program that uses both."""

    def __init__(self, folder, cache=None):
        self.folder = folder
        self.package = copy_package(folder) / "numconv"
        self.cache = cache or folder / "cache"
        (self.package / "kernels/cpu/toy.py").write_text(TOY)
        self.edited = int(time.time()) - 10000
        self.edit(HELPER)
        self.program = folder / "program.py"
        self.program.write_text(PROGRAM)

    def edit(self, text):
        path = self.package / "kernels/cpu/toy_helper.py"
        path.write_text(text)
        # Python takes a source of the same size and second for unchanged: no edit here falls into another's second
        self.edited += 10
        os.utime(path, (self.edited, self.edited))

    def run(self, offset=10, **environment):
        """Use the kernels in a process of its own; the state of its cache."""
        state = run(self.program, self.folder, **{"NUMCONV_CACHE_DIR": str(self.cache), **environment})
        assert state["results"] == [(2 * X + offset).tolist()]
        return state

    def run_code(self, code, **environment):
        path = self.folder / "code.py"
        path.write_text(code)
        return run(path, self.folder, **{"NUMCONV_CACHE_DIR": str(self.cache), **environment})

    def entries(self):
        return sorted(path for path in self.cache.glob("*/*/*") if path.is_file())


@pytest.fixture
def installation(tmp_path):
    return Installation(tmp_path)


def test_a_second_process_compiles_nothing(installation):
    first = installation.run()
    assert first["enabled"] and first["compilations"] == first["files"] == len(installation.entries())
    # the kernel, its helper and the launcher of its parallel form
    assert (first["compilations"], first["hits"]) == (3, 0)
    second = installation.run(PYTHONHASHSEED="7")
    assert (second["compilations"], second["misses"], second["files"]) == (0, 0, 3)
    assert second["bytes"] == sum(path.stat().st_size for path in installation.entries())


def test_a_convolution_is_found_again(installation):
    code = """
import json, sys
import numpy as np
import numconv as nc
from numconv.kernels.cpu import jit
x, w = np.ones((1, 3, 9, 9), np.float32), np.ones((4, 3, 3, 3), np.float32)
assert (nc.conv2d(x, w) == 27).all() and (nc.conv2d(x, w, algorithm="direct") == 27).all()
print(json.dumps([jit.compilations(), "numba.np.linalg" in sys.modules]))
"""
    compilations, ready_to_compile = installation.run_code(code)
    assert compilations > 0 and ready_to_compile
    # what compiling needs, scipy.linalg among it, is not even loaded
    assert installation.run_code(code) == [0, False]


def test_an_edit_in_another_file_is_seen_and_what_it_supersedes_is_deleted(installation):
    installation.run()
    before = installation.entries()
    installation.edit("OFFSET = 11\n")
    assert installation.run(offset=11)["compilations"] == 3
    assert len(installation.entries()) == 3 and not set(before) & set(installation.entries())
    assert len(list(installation.cache.glob("*/*/"))) == 1


def test_an_edit_during_a_process_keeps_it_off_the_disk(installation):
    code = """
import json
import numpy as np
from numconv.kernels.cpu import jit, toy
open(toy.__file__.replace("toy.py", "toy_helper.py"), "w").write("OFFSET = 12\\n")
out = np.zeros(1)
toy.transform(2)(1, 1, np.ones(1), out)
print(json.dumps([out[0], jit.cache_info()["enabled"], jit.cache_info()["reason"]]))
"""
    result, enabled, reason = installation.run_code(code)
    assert (result, enabled) == (12, False) and "changed" in reason
    assert not installation.entries()
    assert installation.run(offset=12)["compilations"] == 3


def test_a_setting_that_changes_code_has_entries_of_its_own(compiled):
    for setting in {"NUMBA_OPT": "1"}, {"NUMCONV_VECTOR_BITS": "128"}, {"NUMBA_CPU_FEATURES": "+sse2"}:
        assert compiled.run(**setting)["hits"] == 0, setting
    assert compiled.run()["compilations"] == 0


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    found = Installation(tmp_path_factory.mktemp("compiled"))
    found.run()
    return found


def test_bounds_checks_are_in_force_where_code_without_them_is_kept(compiled):
    code = """
import json
import numpy as np
from numconv.kernels.cpu import toy
raised = []
for workers in 1, 3:
    try:
        toy.transform(2)(workers, 6, np.ones(4), np.zeros(6))
    except IndexError:
        raised.append(workers)
print(json.dumps(raised))
"""
    assert compiled.run_code(code, NUMBA_BOUNDSCHECK="1") == [1, 3]


def test_threads_settings_share_entries(compiled):
    state = compiled.run(NUMBA_NUM_THREADS="3", NUMBA_THREADING_LAYER="omp", NUMBA_CACHE_DIR="unused")
    assert state["compilations"] == 0


def test_processes_that_compile_at_once(installation):
    environment = {"NUMCONV_CACHE_DIR": str(installation.cache)}
    racing = [subprocess.Popen(**command(installation.program, installation.folder, **environment)) for _ in range(4)]
    printed = [process.communicate(timeout=120)[0] for process in racing]
    assert [process.returncode for process in racing] == [0] * 4, printed
    assert installation.run()["compilations"] == 0
    assert len(installation.entries()) == 3


def test_entries_of_different_processes_meet_in_one(installation):
    for factors in ("1",), ("2",), ("1", "2"), ("2", "1"):
        arguments = command(installation.program, installation.folder, NUMCONV_CACHE_DIR=str(installation.cache))
        # Numba numbers functions from 1 in each process: the same seed makes equal names as likely as can be
        arguments |= {"args": [*arguments["args"], *factors], "env": arguments["env"] | {"PYTHONHASHSEED": "0"}}
        printed = subprocess.run(**arguments, timeout=120, check=True).stdout
        assert str([(int(factor) * X + 10).tolist() for factor in factors])[1:-1] in printed


def test_broken_entries_are_replaced(installation):
    installation.run()
    kernel, helper, launcher = installation.entries()
    kernel.write_bytes(b"")
    helper.write_bytes(helper.read_bytes()[:-1])
    content = bytearray(launcher.read_bytes())
    content[len(content) // 2] ^= 1
    launcher.write_bytes(content)
    assert installation.run()["hits"] == 0
    assert installation.run()["compilations"] == 0


def test_an_entry_that_asks_for_an_unknown_symbol_is_not_loaded(installation):
    unknown = 'from numconv.kernels.cpu import cache\ncache._symbols = lambda library: ["no_such_symbol"]\n'
    installation.run_code(unknown + PROGRAM)
    assert installation.run()["hits"] == 0
    assert installation.run()["compilations"] == 0


def test_a_place_that_cannot_be_written(installation):
    (installation.folder / "file").write_text("")
    for environment in (
        {"NUMCONV_CACHE_DIR": str(installation.folder / "file/cache")},
        {"NUMCONV_CACHE_DIR": "", "HOME": str(installation.folder / "file"), "XDG_CACHE_HOME": "relative"},
    ):
        state = installation.run(**environment)
        assert not state["enabled"] and "cannot be used" in state["reason"]
        assert (state["compilations"], state["files"]) == (3, 0)
    assert not (installation.folder / "relative").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX's")
def test_a_full_disk(installation):
    limited = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n" + PROGRAM
    state = installation.run_code(limited)
    assert state["results"] == [(2 * X + 10).tolist()]
    assert state["enabled"] and "could not be written" in state["reason"]
    assert not installation.entries()


def test_the_cache_can_be_switched_off(compiled):
    before = compiled.entries()
    state = compiled.run(NUMCONV_CACHE="0")
    assert (state["enabled"], state["compilations"], state["hits"]) == (False, 3, 0)
    assert "NUMCONV_CACHE=0" in state["reason"]
    assert compiled.entries() == before


def test_the_platform_names_the_place(installation):
    home = installation.folder / "home"
    environment = {"NUMCONV_CACHE_DIR": "", "HOME": str(home), "LOCALAPPDATA": str(home)}
    place = installation.run(**environment)["path"]
    assert place.startswith(str(home)) and place.endswith("numconv") and os.path.isdir(place)


def test_two_installations_share_a_place(tmp_path):
    one, two = Installation(tmp_path / "one", tmp_path / "cache"), Installation(tmp_path / "two", tmp_path / "cache")
    assert one.run()["compilations"] == two.run()["compilations"] == 3
    one.edit("OFFSET = 11\n")
    assert one.run(offset=11)["compilations"] == 3
    assert two.run()["compilations"] == 0
    shutil.rmtree(two.package)
    bystander = tmp_path / "cache" / ("0" * 32)
    bystander.mkdir()
    assert one.run(offset=11)["compilations"] == 0
    assert len(one.entries()) == 3 and bystander.exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are POSIX's")
def test_the_cache_belongs_to_its_owner_only(installation):
    installation.run()
    for path in installation.cache, *installation.cache.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    another = "import os\nowner = os.geteuid()\nos.geteuid = lambda: owner + 1\n" + PROGRAM
    state = installation.run_code(another)
    assert (state["enabled"], state["hits"]) == (False, 0) and "another user" in state["reason"]
    installation.cache.chmod(0o777)
    state = installation.run()
    assert (state["enabled"], state["hits"]) == (False, 0) and "written by everyone" in state["reason"]


def test_kernels_of_other_packages_are_not_kept(installation):
    code = TOY + PROGRAM.replace("import jit, toy", "import jit").replace("toy.", "")
    assert installation.run_code(code)["compilations"] == 3
    assert len(installation.entries()) == 1  # the launcher


@jit.kernel
def count(step):
    def body(start, stop, worker, out):
        for i in range(start, stop):
            out[i] += step

    return body


def test_a_factory_called_by_many_threads_makes_one_kernel():
    together, made = threading.Barrier(8), []

    def make():
        together.wait()
        made.append(count(3))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8 and len(set(map(id, made))) == 1


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_types_may_alternate(workers):
    for dtype in ("float32", "int64", "float32", "complex128", "int64"):
        out = np.zeros(7, dtype)
        count(2)(workers, 7, out)
        assert (out == 2).all(), dtype


def test_more_workers_than_items():
    out = np.zeros(3)
    count(1)(8, 3, out)
    assert (out == 1).all()
    count(1)(8, 0, out)
    assert (out == 1).all()


def test_a_body_that_returns_something_is_refused():
    @jit.kernel
    def wrong():
        def body(start, stop, worker, out):
            return 1.0

        return body

    with pytest.raises(TypeError, match=r"wrong\(\) must return nothing, it returns float64"):
        wrong()(2, 2, np.zeros(2))


def test_kernels_are_plain_python_where_jit_is_disabled():
    assert run(Path(__file__).with_name("plain.py"), NUMBA_DISABLE_JIT="1") == "all plain"


@pytest.mark.skipif(not (sys.platform == "linux" and os.uname().machine == "x86_64"), reason="names x86 registers")
def test_loops_use_vectors_as_wide_as_the_tile(tmp_path):
    code = """
import json, re
import numba
from numconv.kernels.cpu import jit, simd
@jit.kernel
def double():
    def body(start, stop, worker, x):
        for i in range(len(x)):
            x[i] *= 2
    return body
double().serial.compile((numba.intp,) * 3 + (numba.float32[::1],))
assembly = double().serial.inspect_asm().popitem()[1]
print(json.dumps([simd.vector_bits(), "zmm" in assembly]))
"""
    (tmp_path / "code.py").write_text(code)
    # LLVM prefers 256 bits on this one
    bits, wide = run(tmp_path / "code.py", NUMBA_CPU_NAME="sapphirerapids", NUMCONV_CACHE="0")
    assert wide == (bits == 512)
