"""SSE from a pipe, as far as whole blocks go: what is cut in the middle was never told."""

import asyncio
import json


async def blocks(reader: asyncio.StreamReader):
    """The envelope of each block that came whole."""
    text = ""
    while data := await reader.read(65536):
        text += data.decode("utf-8", "surrogateescape")
        *whole, text = text.split("\n\n")
        for block in whole:
            data_lines = [line for line in block.split("\n") if line.startswith("data: ")]
            if data_lines:
                line = data_lines[0].removeprefix("data: ")
                yield json.loads(line.encode("utf-8", "surrogateescape"))
