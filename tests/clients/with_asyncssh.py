"""A client with AsyncSSH: with_asyncssh.py PORT KEY local|remote ECHO_PORT"""
import asyncio
import sys

import asyncssh

port, key, how, echo = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
DATA = bytes(at % 251 for at in range(100_000))


async def answer(reader, writer):
    while piece := await reader.read(65536):
        writer.write(piece)
    writer.close()


async def main():
    options = {"username": "alice", "client_keys": [key], "known_hosts": None, "config": None, "agent_path": None}
    async with asyncssh.connect("127.0.0.1", port, **options) as client:
        if how == "local":
            reader, writer = await client.open_connection("127.0.0.1", echo)
            writer.write(DATA)
            writer.write_eof()
            heard = await reader.read()
            if heard != DATA:
                sys.exit(f"{len(heard)} bytes came back, not those that were sent")
        else:
            over = asyncio.Event()

            async def serve(reader, writer):
                await answer(reader, writer)
                await writer.wait_closed()
                over.set()

            listener = await client.start_server(lambda *_: serve, "127.0.0.1", 0)
            print("listening", listener.get_port(), flush=True)
            await over.wait()


try:
    asyncio.run(main())
except (asyncssh.Error, OSError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
