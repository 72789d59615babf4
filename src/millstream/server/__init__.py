"""HTTP and WebSocket over the engine: routes, delivery, uploads, problems.

Touches the engine and the ports; names no adapter (settings choose those, in `wiring`).
"""
