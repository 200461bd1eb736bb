"""Programs run in processes of their own, where caches, threads and forks are real."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SETTINGS = ("NUMBA_", "NUMCONV_", "XDG_", "PYTHONHASHSEED", "OMP_")


def command(code, folder, **environment):
    """What `subprocess` needs to run a program that finds numconv in `folder`. It is a file, so that it can spawn."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    clean |= {"PYTHONPATH": str(folder), **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return {"args": [sys.executable, str(code)], "env": clean, "text": True, **pipes}


def run(code, folder=REPOSITORY, **environment):
    """Run a program; what it printed last, read as JSON."""
    done = subprocess.run(**command(code, folder, **environment), timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None


def copy_package(folder):
    """A copy of numconv that a test may edit."""
    shutil.copytree(REPOSITORY / "numconv", folder / "numconv", ignore=shutil.ignore_patterns("*.pyc.*"))
    return folder
