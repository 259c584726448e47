"""The works: each is done at one server and gives its figures by name."""
import time

from .clients import Crowd, Session, connect
from .servers import FILES

MIB = 1 << 20
AES, CHACHA = "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"
UP, DOWN = ("u", "up"), ("d", "down")


def bulk(house, server, cipher, tunnels, piece, total):
    """Throughput, and processor time of the server, in both directions."""
    figures = {}
    for word, name in (UP, DOWN):
        with Session(house, server, cipher) as session:
            session.bulk(word, 4 * MIB, 32 << 10, 1)
            before = server.seconds()
            took = session.bulk(word, total, piece, tunnels)
            time.sleep(0.05)
            figures[f"throughput {name}"] = total / took
            figures[f"processor time per GiB {name}"] = (server.seconds() - before) * (1024 * MIB / total)
    return figures


def trips(link, most, seconds):
    """Times of small round trips, sorted."""
    times, end = [], time.monotonic() + seconds
    while len(times) < most and (began := time.monotonic()) < end:
        link.sendall(b"x" * 100)
        left = 100
        while left:
            length = len(link.recv(left))
            if not length:
                raise RuntimeError("the echo broke off")
            left -= length
        times.append(time.monotonic() - began)
    return sorted(times)


def latency(house, server, most):
    """A round trip of 100 bytes, alone and beside a bulk transfer of the same session."""
    figures = {}
    with Session(house, server, AES) as session, session.link() as link:
        trips(link, 50, 1)
        note(figures, "alone", trips(link, most, 2.5))
        for word, name in (UP, DOWN):
            load = session.load(word, 1 << 40, 32 << 10)
            time.sleep(0.3)
            began, before = session.moved(load)
            note(figures, f"beside bulk {name}", trips(link, most, 2.5))
            ended, after = session.moved(load)
            figures[f"bulk {name} meanwhile"] = (after - before) / (ended - began)
            load.stdin.close()
            load.wait()
    return figures


def note(figures, name, times):
    figures[f"{name}, p50"] = times[len(times) // 2]
    figures[f"{name}, p99"] = times[len(times) * 99 // 100]


def connects(house, server, count):
    """`ssh -W`: connect, decided forward, first byte."""
    server.settle()
    before = server.seconds()
    times = sorted(connect(house, server) for _ in range(count))
    server.settle()
    return {"processor time": (server.seconds() - before) / count, "wall time, the client's included, p50": times[count // 2]}


def opens(house, server, crowd, seconds):
    """Forwards a second through a few sessions, allowed (with the dial) and refused."""
    figures = {}
    # The ports of the connections that the other server has closed are used again after a second (`tcp_tw_reuse`).
    time.sleep(2)
    with Crowd(house, server, crowd) as clients:
        clients.ask("connect", 8, 0)
        for port, name in ((house.target_port, "allowed and dialled"), (1, "refused")):
            before = server.seconds()
            opened, refused, failed, took = clients.ask("open", seconds, 4, port)
            done, other = (opened, refused) if port != 1 else (refused, opened)
            if failed or other or not done:
                raise RuntimeError(f"{server.name}: {opened} opened, {refused} refused, {failed} failed")
            figures[f"{name}, a second"] = done / took
            figures[f"{name}, processor time of each"] = (server.seconds() - before) / done
    return figures


def memory(house, server, crowd, steps):
    """KiB for each idle session, without and with one tunnel, at each number of sessions."""
    figures = {}
    for port, name in ((0, "idle session"), (house.target_port, "idle session with one tunnel")):
        server.restart()
        for _ in range(10):
            connect(house, server)
        with Crowd(house, server, crowd) as clients:
            server.settle()
            before, held = server.kibibytes(), 0
            for step in steps:
                held, failed, _ = clients.ask("connect", step - held, port)
                if failed:
                    raise RuntimeError(f"{server.name}: {failed} of {step} sessions failed")
                time.sleep(1)
                figures[name, step] = (server.kibibytes() - before) / step
            clients.ask("close")
            figures[name, 0] = left_over(server, before) / held
    return figures


def left_over(server, before):
    """What is still held some seconds after everybody left."""
    end = time.monotonic() + 10
    while (left := server.kibibytes() - before) > 0 and time.monotonic() < end:
        time.sleep(0.5)
    return max(left, 0)


def crowded(house, server, crowd, count):
    """Holds `count` sessions with a tunnel each, as far as there are files, and serves new ones meanwhile."""
    # The new ones have one, too.
    tunnels = min(count, MOST_TUNNELS - 10)
    server.restart()
    for _ in range(3):
        connect(house, server)
    alone = sorted(connect(house, server) for _ in range(15))[7]
    server.settle()
    before, spent = server.kibibytes(), server.seconds()
    with Crowd(house, server, crowd) as clients:
        tunnels, failed, took = clients.ask("connect", tunnels, house.target_port)
        held, without, longer = clients.ask("connect", count - tunnels - failed, 0)
        spent = (server.seconds() - spent) / count
        time.sleep(1)
        kibibytes = server.kibibytes() - before
        at_rest = server.seconds()
        time.sleep(5)
        at_rest = (server.seconds() - at_rest) / 5
        new = sorted(connect(house, server) for _ in range(15))
        clients.ask("close")
    left = left_over(server, before)
    return {
        "sessions held": held, "of them with a tunnel": tunnels, "failed": failed + without,
        "seconds to connect them all": took + longer,
        "processor time of each, ms": spent * 1000, "memory of each, KiB": kibibytes / count,
        "processor time while idle, cores": at_rest, "a new connection beside them, times alone": new[7] / alone,
        "slowest of 15 new ones, times alone": new[-1] / alone, "memory given back, per cent": 100 * (1 - left / kibibytes),
    }


def most_sessions(wanted):
    """How many of the wanted sessions one user may have with a tunnel each."""
    return min(wanted, MOST_TUNNELS)


# The gateway keeps half of its files for as many sessions as are configured here, and gives one user three quarters of the rest.
MOST_TUNNELS = FILES // 2 * 3 // 4
