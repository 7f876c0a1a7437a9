"""A client with Python's websockets and permessage-deflate: compressed messages out and back.

usage: deflate.py HOST PORT NAME [CA]   prints "ok" with what was agreed, or fails
"""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory


async def main(host: str, port: int, name: str, ca: str | None) -> None:
    context = ssl.create_default_context(cafile=ca) if ca else None
    scheme = "wss" if context else "ws"
    deflate = ClientPerMessageDeflateFactory(client_max_window_bits=True)
    async with connect(
        f"{scheme}://{name}/deflate",
        host=host,
        port=port,
        ssl=context,
        server_hostname=name if context else None,
        extensions=[deflate],
        proxy=None,
        max_size=None,
    ) as client:
        agreed = client.response.headers.get("Sec-WebSocket-Extensions", "")
        assert "permessage-deflate" in agreed, f"no compression was agreed: {agreed!r}"
        messages = [
            "hello",
            "the same again and again " * 10_000,
            "",
            b"\x00\xff" * 500_000,
            os.urandom(200_000),
        ]
        for message in messages:
            await client.send(message)
            assert await client.recv() == message, "a message came back changed"
        # Two contexts taking turns: the sliding window goes on from message to message.
        for number in range(200):
            await client.send(f"message {number} of a long conversation")
            assert await client.recv() == f"message {number} of a long conversation"
        # A message in fragments, compressed as a whole, with a ping in the middle of it.
        async def fragments():
            for number in range(20):
                yield f"part {number}, "
                await (await client.ping())

        await client.send(fragments())
        assert await client.recv() == "".join(f"part {number}, " for number in range(20))
    assert client.close_code == 1000, client.close_code
    print(f"ok, agreed on {agreed}")


asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else None))
