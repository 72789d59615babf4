"""nginx as a child of ours: a configuration in an empty folder, one worker, loopback alone."""

import os
import shutil
from pathlib import Path

NCHAN = tuple(
    Path(folder) / "ngx_nchan_module.so"
    for folder in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")
)
NO_NGINX = "not installed (apt-get install nginx)"
NO_NCHAN = "not installed (apt-get install nginx libnginx-mod-nchan)"


def nginx() -> str | None:
    """Where nginx is, if it is."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def nchan() -> Path | None:
    """Where its module nchan is, if it is."""
    return next((path for path in NCHAN if path.exists()), None)


def no_nchan() -> str | None:
    """Why nchan cannot be measured, or None."""
    return None if nginx() and nchan() else NO_NCHAN


def command(
    port: int, folder: Path, locations: str, *, modules: str = "", http: str = ""
) -> list[str]:
    """Write the configuration; what starts it. `daemon off` keeps it our child."""
    (folder / "temp").mkdir()
    conf = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    conf.write_text(
        f"""{modules}
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    default_type text/event-stream;
    sendfile on;
    tcp_nopush off;
    tcp_nodelay on;
    keepalive_requests 1000000;
    keepalive_timeout 600s;
    client_body_temp_path {folder}/temp/body;
    proxy_temp_path {folder}/temp/proxy;
    fastcgi_temp_path {folder}/temp/fastcgi;
    uwsgi_temp_path {folder}/temp/uwsgi;
    scgi_temp_path {folder}/temp/scgi;
    {http}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder};
        {locations}
    }}
}}
""",
        encoding="utf-8",
    )
    return [nginx() or "nginx", "-p", str(folder), "-c", str(conf), "-e", f"{folder}/error.log"]


def with_nchan(port: int, folder: Path) -> list[str]:
    """nginx with one channel: /pub takes events, /sub gives them as EventSource from the oldest."""
    return command(
        port,
        folder,
        """
        location /pub {
            nchan_publisher;
            nchan_channel_id run;
            nchan_message_buffer_length 50000;
            nchan_message_timeout 1h;
        }
        location /sub {
            nchan_subscriber eventsource;
            nchan_channel_id run;
            nchan_subscriber_first_message oldest;
        }
        """,
        modules=f"load_module {nchan()};",
        http="nchan_shared_memory_size 512M;",
    )
