"""node and the packages that its contestants need: installed into `bench/build` before the first
question, from a lock file that names no host."""

import shutil
import subprocess

from bench.programs import BUILD, HERE

CONTESTANTS = HERE / "contestants"
FOLDER = BUILD / "node"


def node() -> str | None:
    """Where node is, if it is."""
    return shutil.which("node")


def no_node() -> str | None:
    """Why node cannot be measured, or None."""
    return None if node() else "node is not installed"


def no_packages() -> str | None:
    """Why its packages cannot be measured, or None."""
    if node() is None:
        return no_node()
    lock, stamp = CONTESTANTS / "package-lock.json", FOLDER / "installed"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return None
    return "its packages are not installed (make bench does, with npm)"


def install() -> str | None:
    """Install the packages, once; what went wrong, or None."""
    npm = shutil.which("npm")
    if no_packages() is None or npm is None:
        return no_packages()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(CONTESTANTS / name, FOLDER / name)
    words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
    try:
        done = subprocess.run(
            words, cwd=FOLDER, capture_output=True, text=True, timeout=180, check=False
        )
    except subprocess.TimeoutExpired:
        return "npm ci took more than 180 s"
    if done.returncode:
        return f"npm ci failed: {done.stderr.strip()[-200:]}"
    shutil.copyfile(CONTESTANTS / "package-lock.json", FOLDER / "installed")
    return None


def command(program: str, *words: str) -> list[str]:
    """node on a program of ours."""
    return [node() or "node", str(CONTESTANTS / program), *words]
