"""The cache of compiled kernels on disk.

    PLACE/INSTALLATION/STAMP/KEY

PLACE is `NUMCONV_CACHE_DIR` or the platform's folder for caches. INSTALLATION is a hash of where this package and what
compiles it are installed, so that two installations share a place without deleting each other's entries. STAMP hashes
every source file of the package and the versions of what compiles it: after an edit or an upgrade the folder of the
former stamp is deleted. KEY hashes all else that changes code: kernel, signature, processor and settings.

An entry holds the hash of its content and its full key, and appears under its name only once it is complete; one that
does not match is compiled anew. To load an entry is to run it, so what others could have written is not read. Whatever
goes wrong here, the kernel is compiled in memory.

Numba's own cache (`numba.core.caching`) knows neither of edits in other files nor of most settings, and never finds
closures over intrinsics again; ours takes its place in the dispatcher.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import re
import shutil
import sys
import tempfile
import time
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite.binding import address_of_symbol
from numba.core import config, sigutils
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from numconv.measured import place
from numconv.options import LOADED_AT

PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
# Settings of Numba and numconv whose names hold one of these do not change code; all others are part of the key.
NOT_CODE = ("CACHE", "CUDA", "THREAD", "TRACE")
# The file in an installation's folder that says which package it belongs to.
OWNER = "numconv-installation"


class Counts:
    """What was compiled and found in this process."""

    compilations = 0
    hits = 0
    misses = 0
    trouble = ""  # why the last entry could not be written or the cache cannot be used


@functools.cache
def _sources() -> tuple[str, ...]:
    walk = os.walk(PACKAGE)
    return tuple(
        sorted(os.path.join(folder, name) for folder, _, names in walk for name in names if name[-3:] == ".py")
    )


def _edited() -> bool:
    """Whether a source file was changed since numconv was imported: code in memory may then be another than its."""
    return any(max(s.st_mtime, s.st_ctime) > LOADED_AT for s in map(os.stat, _sources()))


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _stamp() -> str:
    versions = sys.version, numba.__version__, llvmlite.__version__, np.__version__
    contents = []
    for path in _sources():
        with open(path, "rb") as file:
            contents.append((os.path.relpath(path, PACKAGE), hashlib.sha256(file.read()).digest()))
    return _hash(versions, contents)


def _settings() -> list[tuple[str, str]]:
    found = [(name, repr(getattr(config, name))) for name in dir(config) if name.isupper()]
    found += [item for item in os.environ.items() if item[0].startswith("NUMCONV_")]
    found.append(("python -O", str(sys.flags.optimize)))  # takes asserts out of bodies
    return sorted(item for item in found if not any(word in item[0] for word in NOT_CODE))


def _not_ours(status: os.stat_result) -> str:
    """Why what has this status cannot be trusted, if so."""
    if not hasattr(os, "geteuid"):
        return ""
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    return "can be written by everyone" if status.st_mode & 0o002 else ""


def _make(folder: str) -> None:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if reason := _not_ours(os.stat(folder)):
        raise PermissionError(f"{folder} {reason}")


def _installation(home: str) -> str:
    """The folder of this installation, made if need be."""
    tools = [os.path.dirname(module.__file__ or "") for module in (numba, llvmlite, np)]
    folder = os.path.join(home, _hash(PACKAGE, tools, sys.implementation.cache_tag))
    _make(home)
    _make(folder)
    os.chmod(folder, 0o700)
    return folder


def _sweep(home: str, installation: str, stamp: str) -> None:
    """Delete what is superseded: other stamps, pieces of broken writes, and installations that are no more."""
    for entry in os.scandir(installation):
        if entry.is_dir() and entry.name != stamp:
            shutil.rmtree(entry.path, ignore_errors=True)
    with contextlib.suppress(OSError):  # another process may be faster
        for entry in os.scandir(os.path.join(installation, stamp)):
            if entry.name.endswith(".tmp") and entry.stat().st_mtime < time.time() - 3600:
                os.unlink(entry.path)
    for entry in os.scandir(home):
        with contextlib.suppress(OSError), open(os.path.join(entry.path, OWNER), encoding="utf-8") as file:
            if re.fullmatch("[0-9a-f]{32}", entry.name) and not os.path.isdir(file.read()):
                shutil.rmtree(entry.path, ignore_errors=True)


@functools.cache
def _folder() -> str | None:
    """Where this process keeps its entries; None where it keeps none. Prepared once."""
    if os.environ.get("NUMCONV_CACHE", "1") == "0":
        Counts.trouble = "switched off by NUMCONV_CACHE=0"
        return None
    home = place()
    try:
        if _edited():
            Counts.trouble = "source files were changed after numconv was imported"
            return None
        stamp = _stamp()
        installation = _installation(home)
        owner = os.path.join(installation, OWNER)
        if not os.path.exists(owner):
            _write(owner, PACKAGE.encode())
        _make(os.path.join(installation, stamp))
        _sweep(home, installation, stamp)
    except OSError as error:
        Counts.trouble = f"{home} cannot be used: {error}"
        return None
    return os.path.join(installation, stamp)


def _write(path: str, content: bytes) -> None:
    """Write a file of which other processes see all or nothing."""
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), suffix=".tmp")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _read(path: str) -> Any:
    """The key of an entry and what compiled code is kept as; None if there is none, or it is broken or not ours."""
    try:
        with open(path, "rb") as file:
            if _not_ours(os.fstat(file.fileno())):
                return None
            digest, content = file.read(32), file.read()
    except OSError:
        return None
    return pickle.loads(content) if hashlib.sha256(content).digest() == digest else None


def _symbols(library: Any) -> list[str]:
    """Names of what compiled code expects to find outside: the Python API, Numba's runtime, libm."""
    module = library._final_module
    outside = (item for items in (module.functions, module.global_variables) for item in items if item.is_declaration)
    return [item.name for item in outside if not item.name.startswith("llvm.")]


def _prepared(symbols: list[str], target_context: Any) -> bool:
    """Make all of these known to LLVM, which ends the process for want of one.

    To refresh the context, as Numba's cache does, takes 0.3 s (it imports scipy.linalg) and is hardly ever needed.
    """
    if not all(map(address_of_symbol, symbols)):
        target_context.refresh()
    return all(map(address_of_symbol, symbols))


class KernelCache(NullCache):
    """What a dispatcher asks before it compiles and tells afterwards. Numba's compiler lock is held meanwhile.

    Parameters
    ----------
    name : str
        Says all about the function that its package's source does not: where it is defined, for which numbers it was
        made. Empty for functions of which there is no such name: they are not kept on disk.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def cache_path(self) -> str | None:
        return _folder()

    def _key(self, signature: Any, codegen: Any) -> str:
        """All that changes the code, beside the package's source."""
        types, _ = sigutils.normalize_signature(signature)
        return repr((self.name, [str(kind) for kind in types], codegen.magic_tuple(), _settings()))

    def _parts(self, data: Any) -> tuple[Any, ...] | None:
        """What compiled code is kept as; None where it is good for this process alone."""
        if data.library.has_dynamic_globals or data.lifted:
            return None
        return _symbols(data.library), data._reduce()

    def _rebuilt(self, target_context: Any, symbols: list[str], parts: Any) -> Any:
        """Compiled code of what `_parts` gave; None where this process lacks what it calls."""
        return CompileResult._rebuild(target_context, *parts) if _prepared(symbols, target_context) else None

    def _entry(self, signature: Any, codegen: Any) -> tuple[str, str] | None:
        """(path, key) of a signature's entry, if it may have one."""
        folder = _folder() if self.name else None
        if folder is None:
            return None
        key = self._key(signature, codegen)
        return os.path.join(folder, _hash(key)), key

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            entry = self._entry(sig, target_context.codegen())
            found = _read(entry[0]) if entry else None
            if entry and found and found[0] == entry[1] and not _edited():
                result = self._rebuilt(target_context, *found[1:])
                if result is not None:
                    Counts.hits += 1
                    return result
        except Exception as error:  # an entry may be broken in any way; compiling is always right
            Counts.trouble = f"an entry could not be read: {error!r}"
        Counts.misses += 1
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        Counts.compilations += 1
        try:
            entry, parts = self._entry(sig, data.codegen), self._parts(data)
            if entry is None or parts is None or _edited():
                return
            content = dumps((entry[1], *parts))
            _make(os.path.dirname(entry[0]))
            _write(entry[0], hashlib.sha256(content).digest() + content)
        except Exception as error:  # full disk, no permission, nothing that pickles: the kernel runs from memory
            Counts.trouble = f"an entry could not be written: {error!r}"


def info() -> dict[str, Any]:
    """The cache's state.

    Returns
    -------
    dict
        `enabled`; `reason`, why not, or what went wrong last; `path`, the place; `files` and `bytes` of this
        installation; `hits`, `misses` and `compilations` of this process.
    """
    folder = _folder()
    sizes = [entry.stat().st_size for entry in os.scandir(folder)] if folder and os.path.isdir(folder) else []
    return {
        "enabled": folder is not None,
        "reason": Counts.trouble,
        "path": place(),
        "files": len(sizes),
        "bytes": sum(sizes),
        "hits": Counts.hits,
        "misses": Counts.misses,
        "compilations": Counts.compilations,
    }
