"""A demo catalogue of enamel pins, drawn by a script, and photos of them, taken by another.

`python -m examples.pins FOLDER` writes both. Nothing here is a real pin, price or person.
"""
