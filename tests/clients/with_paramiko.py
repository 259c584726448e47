"""A client with paramiko: with_paramiko.py PORT KEY local|remote ECHO_PORT"""
import sys
import threading

import paramiko

port, key, how, echo = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
DATA = bytes(at % 251 for at in range(100_000))

client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", port, "alice", key_filename=key, allow_agent=False, look_for_keys=False)
transport = client.get_transport()


def send(channel):
    channel.sendall(DATA)
    channel.shutdown_write()


if how == "local":
    channel = transport.open_channel("direct-tcpip", ("127.0.0.1", echo), ("127.0.0.1", 0))
    threading.Thread(target=send, args=(channel,)).start()
    heard = b""
    while piece := channel.recv(65536):
        heard += piece
    if heard != DATA:
        sys.exit(f"{len(heard)} bytes came back, not those that were sent")
else:
    print("listening", transport.request_port_forward("127.0.0.1", 0), flush=True)
    channel = transport.accept()
    while piece := channel.recv(65536):
        channel.sendall(piece)
channel.close()
client.close()
