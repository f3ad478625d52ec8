"""The smallest operator there is, in a process of its own, so that only the client's work is measured.

    python benchmarks/server.py [--delay SECONDS] [--certificate CERT KEY]

Prints its port, answers every POST with a sent code, and stops with its parent.
"""

import argparse
import asyncio
import ssl

BODY = b'{"authenticationId":"ea0840f3-3663-4149-bd10-c7c6b8912105"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


class Operator(asyncio.Protocol):
    """Read whole requests, and respond to each."""

    delay = 0.0

    def connection_made(self, transport):
        self.transport = transport
        self.received = b""

    def data_received(self, data):
        self.received += data
        head, blank, rest = self.received.partition(b"\r\n\r\n")
        if not blank:
            return
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if len(rest) < length:
            return
        self.received = rest[length:]
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self.transport.write, ANSWER)
        else:
            self.transport.write(ANSWER)


async def main(options):
    """Serve until killed."""
    context = None
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.certificate)
    Operator.delay = options.delay
    server = await asyncio.get_running_loop().create_server(Operator, "127.0.0.1", 0, ssl=context, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--certificate", nargs=2)
    asyncio.run(main(parser.parse_args()))
