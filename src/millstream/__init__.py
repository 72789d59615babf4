"""Millstream: pipelines of plain typed functions, served so that every client gets every partial
result the moment it exists, and never loses one.
"""
