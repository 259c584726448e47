"""What the clients need around them.

    exchange.py echo                     an echo server; prints its port, ends when it is terminated
    exchange.py pipe COMMAND…            sends bytes through the command, and compares what comes back
    exchange.py listener WORDS COMMAND…  the same through a port, the number after these words in what it prints
    exchange.py whole WORDS COMMAND…     the same, but the caller ends its direction only after it has heard everything
"""
import re
import socket
import socketserver
import subprocess
import sys
import threading

DATA = bytes(at % 251 for at in range(100_000))


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while piece := self.request.recv(65536):
                self.request.sendall(piece)
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


def through(write, end, read):
    """Sends all, and hears all."""

    def send():
        write(DATA)
        end()

    threading.Thread(target=send, daemon=True).start()
    heard = b""
    while len(heard) < len(DATA) and (piece := read(65536)):
        heard += piece
    return heard


def main():
    how, command = sys.argv[1], sys.argv[2:]
    if how == "echo":
        with Server(("127.0.0.1", 0), Echo) as server:
            print(server.server_address[1], flush=True)
            server.serve_forever()
    both, words = (None, None) if how == "pipe" else (subprocess.STDOUT, command.pop(0))
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=both, bufsize=0)
    killer = threading.Timer(60, client.kill)
    killer.start()
    said = []
    heard = b""
    if how == "pipe":
        try:
            heard = through(client.stdin.write, client.stdin.close, client.stdout.read)
        except BrokenPipeError:
            pass
    else:
        for line in iter(client.stdout.readline, b""):
            said.append(line.decode(errors="replace"))
            if words in said[-1]:
                port = int(re.search(r"\d+", said[-1].split(words)[1])[0])
                with socket.create_connection(("127.0.0.1", port)) as caller:
                    end = (lambda: caller.shutdown(socket.SHUT_WR)) if how == "listener" else (lambda: None)
                    heard = through(caller.sendall, end, caller.recv)
                break
    killer.cancel()
    client.kill()
    client.wait()
    if heard != DATA:
        sys.exit("".join(said[-5:]) + f"{len(heard)} of {len(DATA)} bytes came back")


main()
