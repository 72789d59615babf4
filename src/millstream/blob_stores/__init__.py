"""Adapters of the blob store port (`blobs.py`). Only settings name one of them."""
