"""Acts on the core's decisions: runs pipelines, keeps their logs, lets readers follow.

May touch `core`, the ports (`store`, `blobs`) and what stands beside them; names no adapter, no
wire and no server.
"""
