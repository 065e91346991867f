"""Sends 100,000 bytes to a port of this machine, over as many connections as are asked for."""

import socket
import sys

port, connections = int(sys.argv[1]), int(sys.argv[2])
payload = bytes(i % 251 for i in range(100_000))
for _ in range(connections):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(payload)
print(f"sum {sum(payload)}")
