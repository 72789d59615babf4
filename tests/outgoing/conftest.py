"""A network whose names we decide: what a name leads to, look-up by look-up."""

import asyncio
import socket
from collections import defaultdict

import pytest


class Names:
    """`names["site.test"] = ["93.184.216.34"]`; a list of lists answers a look-up each, the last
    for ever. Addresses are answered as they are; other names do not exist."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: dict[str, int] = defaultdict(int)

    def __setitem__(self, name: str, answer: list[str] | list[list[str]]) -> None:
        lists = [each for each in answer if isinstance(each, list)]
        self.answers[name] = lists or [[each for each in answer if isinstance(each, str)]]

    def look_up(self, name: str, port: int) -> list[tuple]:
        self.asked[name] += 1
        try:
            return socket.getaddrinfo(
                name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        except socket.gaierror:
            pass
        answers = self.answers.get(name)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [self._entry(address, port) for address in found]

    @staticmethod
    def _entry(address: str, port: int) -> tuple:
        six = ":" in address
        family = socket.AF_INET6 if six else socket.AF_INET
        place = (address, port, 0, 0) if six else (address, port)
        return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    known = Names()

    async def getaddrinfo(_loop, host, port, **_) -> list[tuple]:
        name = host.decode() if isinstance(host, bytes) else host
        return known.look_up(name, int(port or 0))

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return known
