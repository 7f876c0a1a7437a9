"""A WebSocket client with a certificate of its own: Python's websockets.

usage: client_certificate.py HOST PORT NAME CA CERTIFICATE KEY   prints "ok", or fails
"""

import asyncio
import ssl
import sys

from websockets.asyncio.client import connect


async def main(host: str, port: int, name: str, ca: str, certificate: str, key: str) -> None:
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    async with connect(
        f"wss://{name}/echo", host=host, port=port, ssl=context, server_hostname=name, proxy=None
    ) as client:
        await client.send("hello")
        assert await client.recv() == "hello"
    print("ok")


host, port, *rest = sys.argv[1:]
asyncio.run(main(host, int(port), *rest))
