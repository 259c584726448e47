"""What is forwarded to. The first byte of a connection says what it does:

    e                  echoes what comes
    m                  mirrors what comes: an echo that waits for nobody but its own reader
    u TOTAL            takes that many bytes, then answers one
    d TOTAL PIECE      sends that many bytes, so many at a time

Numbers are sixteen characters wide. It prints its port and ends with its standard input.
"""
import os, resource, selectors, socket, sys, threading

MIB = 1 << 20
ZEROS = os.memfd_create("zeros")
os.truncate(ZEROS, MIB)


def main():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    loop = selectors.DefaultSelector()
    loop.register(listener, selectors.EVENT_READ, accept)
    loop.register(sys.stdin, selectors.EVENT_READ, lambda *_: sys.exit())
    while True:
        for key, _ in loop.select():
            key.data(loop, key.fileobj)


def accept(loop, listener):
    try:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            loop.register(connection, selectors.EVENT_READ, begin)
    except BlockingIOError:
        pass


def begin(loop, connection):
    try:
        word = connection.recv(1)
    except OSError:
        word = b""
    loop.unregister(connection)
    if word == b"e":
        loop.register(connection, selectors.EVENT_READ, echo)
    elif word in WORKS:
        work = WORKS[word]
        threading.Thread(target=serve, args=(work, connection), daemon=True).start()
    else:
        connection.close()


def echo(loop, connection):
    try:
        data = connection.recv(65536)
        if data:
            connection.sendall(data)
            return
    except OSError:
        pass
    loop.unregister(connection)
    connection.close()


def serve(work, connection):
    connection.setblocking(True)
    try:
        work(connection)
    except OSError:
        pass
    connection.close()


def take(connection):
    left = number(connection)
    buffer = bytearray(MIB)
    # Dropped in the kernel (tcp(7), MSG_TRUNC): the server is to be measured, not this program.
    while left > 0 and (length := connection.recv_into(buffer, MIB, socket.MSG_TRUNC)):
        left -= length
    connection.sendall(b"k")


def give(connection):
    total, piece = number(connection), number(connection)
    pour(connection, total, piece)
    connection.recv(1)


def pour(connection, total, piece, moved=None):
    """Sends zeros, `piece` bytes in each call; large pieces are added up in `moved`."""
    moved = moved or [0]
    if piece < 4096:
        message = bytes(piece)
        for _ in range(total // piece):
            connection.sendall(message)
        return
    left = total
    while left > 0:
        sent = os.sendfile(connection.fileno(), ZEROS, 0, min(piece, left))
        moved[0] += sent
        left -= sent


def mirror(connection):
    while data := connection.recv(1 << 16):
        connection.sendall(data)


WORKS = {b"u": take, b"d": give, b"m": mirror}


def number(connection):
    text = b""
    while len(text) < 16:
        text += connection.recv(16 - len(text))
    return int(text)


if __name__ == "__main__":
    main()
