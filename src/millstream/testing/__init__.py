"""The public test kit: conformance suites for the ports, a virtual clock, injected faults.

Imports no test framework: use it with the one you have.
"""
