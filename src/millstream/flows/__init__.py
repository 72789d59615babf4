"""Flows: pipelines that come as JSON (nodes, ports, edges) over a registry of node types.

`document` is the JSON, `types` what a node may be, `check` says everything that is wrong,
`build` makes a Pipeline of it, `write` the JSON of a Pipeline. Stands on `pipeline` and knows
neither the engine nor any node type in particular.
"""
