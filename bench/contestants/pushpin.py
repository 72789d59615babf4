"""Pushpin as a child of ours: its runner, proxy, handler and Condure, with a configuration in an
empty folder, loopback alone. Its built-in test route holds /stream open.

`message_rate=0` is no limit. With any limit, however high, one follower of 50 events a second got
its second event when nothing more had been published for a while.
"""

import http.client
import shutil
import time
from pathlib import Path

NOT_THERE = "not installed (apt-get install pushpin condure)"


def absent() -> str | None:
    """Why it cannot be measured, or None."""
    return None if shutil.which("pushpin") and shutil.which("condure") else NOT_THERE


def control_port(port: int) -> int:
    """Where it takes what is published."""
    return port + 1


def settled(port: int, seconds: float = 20.0) -> bool:
    """Wait until it lets clients in: it listens before its parts have found one another, and says
    500 until then. False where that took longer."""
    until, good = time.monotonic() + seconds, 0
    while good < 5 and time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/stream")
            good = good + 1 if connection.getresponse().status == 200 else 0
        except OSError:
            good = 0
        finally:
            connection.close()
        time.sleep(0.05)
    return good >= 5


def command(port: int, folder: Path) -> list[str]:
    """Write the configuration; what starts it. Clients come to `port`."""
    for name in ("run", "log"):
        (folder / name).mkdir()
    (folder / "routes").write_text("* test\n", encoding="utf-8")
    (folder / "internal.conf").write_text(_INTERNAL, encoding="utf-8")
    conf = folder / "pushpin.conf"
    conf.write_text(_conf(port, folder), encoding="utf-8")
    return ["pushpin", f"--config={conf}", "--merge-output"]


def _conf(port: int, folder: Path) -> str:
    first = control_port(port)
    return f"""[global]
include={folder}/internal.conf
rundir={folder}/run
ipc_prefix=bench-
port_offset=0

[runner]
services=condure,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:{port}
logdir={folder}/log
log_level=0
client_buffer_size=8192
client_maxconn=12000
condure_bin=condure

[proxy]
routesfile={folder}/routes
updates_check=off

[handler]
push_in_spec=ipc://{folder}/run/push-in
push_in_sub_specs=ipc://{folder}/run/push-in-sub
push_in_http_addr=127.0.0.1
push_in_http_port={first}
push_in_http_max_headers_size=10000
push_in_http_max_body_size=1000000
command_spec=ipc://{folder}/run/command
stats_spec=ipc://{folder}/run/stats
message_rate=0
message_hwm=1000000
message_wait=5000
id_cache_ttl=60
"""


def _spec(name: str) -> str:
    return "ipc://{rundir}/{ipc_prefix}" + name


_M2A = ("in_specs", "in_stream_specs", "out_specs")
_ZURL = ("out_specs", "out_stream_specs", "in_specs")
_INTERNAL = "\n".join(
    [
        "[proxy]",
        f"condure_in_specs={_spec('condure-out')}",
        f"condure_in_stream_specs={_spec('condure-out-stream')}",
        f"condure_out_specs={_spec('condure-in')}",
        f"handler_inspect_spec={_spec('inspect')}",
        f"handler_accept_spec={_spec('accept')}",
        f"handler_retry_in_spec={_spec('retry')}",
        f"handler_ws_control_in_spec={_spec('ws-control-in')}",
        f"handler_ws_control_out_spec={_spec('ws-control-out')}",
        f"stats_spec={_spec('proxy-stats')}",
        f"command_spec={_spec('proxy-command')}",
        f"intreq_in_specs={_spec('intreq-in')}",
        f"intreq_in_stream_specs={_spec('intreq-in-stream')}",
        f"intreq_out_specs={_spec('intreq-out')}",
        *(f"m2a_{each}={_spec(f'm2a-{each}')}" for each in _M2A),  # nobody is there: not used
        *(f"zurl_{each}={_spec(f'zurl-{each}')}" for each in _ZURL),
        "",
        "[handler]",
        *(f"m2a_{each}={_spec(f'm2a-{each}')}" for each in _M2A[1:]),
        f"proxy_inspect_spec={_spec('inspect')}",
        f"proxy_accept_spec={_spec('accept')}",
        f"proxy_retry_out_spec={_spec('retry')}",
        f"proxy_ws_control_in_spec={_spec('ws-control-out')}",
        f"proxy_ws_control_out_spec={_spec('ws-control-in')}",
        f"proxy_stats_spec={_spec('proxy-stats')}",
        f"proxy_command_spec={_spec('proxy-command')}",
        f"condure_in_stream_specs={_spec('condure-out-stream')}",
        f"condure_out_specs={_spec('condure-in')}",
        f"proxy_intreq_out_specs={_spec('intreq-in')}",
        f"proxy_intreq_out_stream_specs={_spec('intreq-in-stream')}",
        f"proxy_intreq_in_specs={_spec('intreq-out')}",
        "",
    ]
)
