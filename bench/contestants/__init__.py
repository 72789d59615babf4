"""Each file is one contestant: a small program, written the way its users would write it."""
