"""The debugger of live runs: a snapshot each second, alerts that fire and clear, recordings.

`snapshots`, `alerts`, `reports` and `recording` are pure; `feed` hands what happens to readers;
`debugger` looks at one run, `debuggers` at all runs of a process. Knows no HTTP.
"""
