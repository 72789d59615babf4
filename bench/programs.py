"""The C programs: compiled at first use into `bench/build`, which git does not see."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]


def compiler() -> str | None:
    """A C compiler, if there is one."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@cache
def built(source: str) -> Path:
    """The program made of `bench/<source>`; compiled again where a source beside it is newer."""
    path, program = HERE / source, BUILD / Path(source).stem
    newest = max(each.stat().st_mtime for each in (path, *path.parent.glob("*.h")))
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    cc = compiler()
    if cc is None:
        raise RuntimeError("the load client is C: install a C compiler (cc) to run the benchmarks")
    BUILD.mkdir(exist_ok=True)
    subprocess.run([cc, *FLAGS, "-o", str(program), str(path)], check=True)
    return program
