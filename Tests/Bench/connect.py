#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
"""connect.py serve PORT...: accepts and closes. connect.py measure ROUNDS BURST ADDRESS:PORT...: the median time of a new TCP
connection to each, in microseconds, in that order. All take turns, so that whatever else the machine does meets them alike."""
import selectors
import socket
import statistics
import struct
import sys
import time

# A reset instead of a FIN: no port of ours lingers in TIME_WAIT.
LINGER = struct.pack("ii", 1, 0)


def serve(ports):
    selector = selectors.DefaultSelector()
    for port in ports:
        listener = socket.create_server(("0.0.0.0", port), backlog=1024)
        selector.register(listener, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            try:
                key.fileobj.accept()[0].close()
            except OSError:
                pass  # reset already


def connect(target):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        client.settimeout(5)
        start = time.perf_counter_ns()
        client.connect(target)
        return (time.perf_counter_ns() - start) / 1000


def measure(rounds, burst, targets):
    times = [[] for _ in targets]
    for _ in range(rounds):
        for index, target in enumerate(targets):
            connect(target)  # warms the caches of this path
            times[index] += (connect(target) for _ in range(burst))
    for each in times:
        print(f"{statistics.median(each):.2f}")


if sys.argv[1] == "serve":
    serve([int(port) for port in sys.argv[2:]])
else:
    measure(int(sys.argv[2]), int(sys.argv[3]), [(a, int(p)) for a, p in (target.split(":") for target in sys.argv[4:])])
