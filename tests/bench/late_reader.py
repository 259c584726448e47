"""A client with paramiko, for late-readers: sends noise through many tunnels to an echo, and compares what comes back.

    late_reader.py always|last PORT USER KEY TARGET_PORT TUNNELS BYTES
"""
import hashlib, random, socket, sys, threading

import paramiko


class Late:
    """A socket that is read only once `gate` is set."""

    def __init__(self, port, gate):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.gate = gate

    def recv(self, count):
        self.socket.settimeout(0.1)
        if not self.gate.wait(0.1):
            raise socket.timeout()
        return self.socket.recv(count)

    def send(self, data):
        # A timeout is for reading alone: the two share the socket.
        while True:
            try:
                return self.socket.send(data)
            except socket.timeout:
                pass

    def settimeout(self, _):
        pass

    @property
    def _closed(self):
        # paramiko looks at this of a socket.
        return self.socket.fileno() < 0

    def close(self):
        self.socket.close()


def main():
    manner, port, user, key, target, tunnels, size = sys.argv[1:]
    gate = threading.Event()
    gate.set()
    transport = paramiko.Transport(Late(int(port), gate))
    # The windows are granted before anything is read.
    transport.default_window_size = 1 << 30
    transport.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(key))
    channels = [
        transport.open_channel("direct-tcpip", ("127.0.0.1", int(target)), ("127.0.0.1", 0)) for _ in range(int(tunnels))
    ]
    for channel in channels:
        channel.sendall(b"m")
    if manner == "last":
        gate.clear()
    wrong, size = [], int(size)

    def write(channel, said):
        channel.sendall(said)
        channel.shutdown_write()

    def read(channel, said):
        heard = hashlib.sha256()
        left = len(said)
        while left > 0 and (part := channel.recv(1 << 16)):
            heard.update(part)
            left -= len(part)
        if heard.digest() != hashlib.sha256(said).digest():
            wrong.append(left)

    noise = [random.Random(number).randbytes(size) for number in range(len(channels))]
    writers = [threading.Thread(target=write, args=pair, daemon=True) for pair in zip(channels, noise)]
    readers = [threading.Thread(target=read, args=pair, daemon=True) for pair in zip(channels, noise)]
    for thread in writers + readers:
        thread.start()
    for thread in writers:
        thread.join()
    gate.set()
    for thread in readers:
        thread.join()
    transport.close()
    if wrong:
        sys.exit(f"{len(wrong)} tunnels were not echoed: {wrong[:5]} bytes missing")
    print("all came back")


main()
