"""Bulk through a forwarded port, in a process of its own.

    load.py PORT u|d TOTAL PIECE TUNNELS

Moves TOTAL bytes through that many connections together and prints the seconds it took. For each line of its input it
prints the time and how many bytes were moved by then. Stops at the end of its input.
"""
import os, socket, sys, threading, time

from target import MIB, pour

MOVED = [0]


def main():
    port, word, total, piece, tunnels = int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6])
    links = [socket.create_connection(("127.0.0.1", port)) for _ in range(tunnels)]
    share = total // tunnels // piece * piece
    work = up if word == "u" else down
    threads = [threading.Thread(target=work, args=(link, share, piece)) for link in links]
    threading.Thread(target=end_with_input, daemon=True).start()
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(time.monotonic() - began)


def up(link, share, piece):
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.sendall(b"u%-16d" % share)
    pour(link, share, piece, MOVED)
    if link.recv(1) != b"k":
        os._exit(1)


def down(link, share, piece):
    link.sendall(b"d%-16d%-16d" % (share, piece))
    buffer, left = bytearray(MIB), share
    while left > 0:
        length = link.recv_into(buffer, MIB, socket.MSG_TRUNC)
        if not length:
            os._exit(1)
        left -= length
        MOVED[0] += length
    link.close()


def end_with_input():
    for _ in sys.stdin:
        print(time.monotonic(), MOVED[0], flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
