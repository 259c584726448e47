"""The command line: which works, how often, how large."""
import argparse, json, os, pathlib, subprocess, sys, tempfile, time

from . import works
from .clients import Target
from .servers import FILES, House
from .table import MEMORY_ASKED, Table

ROOT = pathlib.Path(__file__).parents[3]
USUAL = {"rounds": 5, "mebibytes": 768, "sessions": 10000, "sshd_sessions": 200}
QUICK = {"rounds": 3, "mebibytes": 256, "sessions": 2000, "sshd_sessions": 50}
PARTS = ["bulk", "small", "latency", "connect", "opens", "memory", "crowd"]


def main(about):
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", help="a built portreeve; without it `cargo build --release` makes one")
    parser.add_argument("--crowd", help="a built crowd client; without it `cargo bench --no-run` makes one")
    parser.add_argument("--against", metavar="BINARY", help="another built portreeve in the place of sshd")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller: some minutes, and a wider spread")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part only (may be given several times)")
    parser.add_argument("--rounds", type=int, help="of each work (default 5; quick 3)")
    parser.add_argument("--mebibytes", type=int, help="of each transfer (default 768; quick 256)")
    parser.add_argument("--sessions", type=int, help="to hold at once (default 10000; quick 2000)")
    parser.add_argument("--sshd-sessions", type=int, help="for sshd's memory (default 200; quick 50)")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    options = parser.parse_args()
    for name, usual in (QUICK if options.quick else USUAL).items():
        if getattr(options, name) is None:
            setattr(options, name, usual)
    binary = os.path.abspath(options.binary) if options.binary else build("build", "--bin", "portreeve")
    crowd = os.path.abspath(options.crowd) if options.crowd else build("bench", "--no-run", "--bench", "crowd")
    parts = options.only or PARTS
    began = time.monotonic()
    target = Target()
    table = Table("the other build" if options.against else "sshd", asked=not options.against)
    extra = {}
    with tempfile.TemporaryDirectory() as folder:
        house = House(folder, target.port)
        try:
            house.portreeve(binary)
            if options.against:
                house.portreeve(os.path.abspath(options.against), "other")
            else:
                house.sshd()
            for part in parts:
                extra[part] = globals()[part](house, crowd, options, table)
        finally:
            house.stop()
            target.stop()
    missed = table.missed()
    print(f"\n{len(missed)} of {sum(row['met'] is not None for row in table.rows)} bounds missed;"
          f" {time.monotonic() - began:.0f} seconds, {os.cpu_count()} cores")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"rows": table.rows, "more": extra}, indent=1))


def build(*what):
    """Builds with the release profile and says where the program is."""
    command = ["cargo", *what, "--locked", "--message-format=json-render-diagnostics"]
    if what[0] == "build":
        command.append("--release")
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("the build failed")
    built = [json.loads(line).get("executable") for line in done.stdout.splitlines()]
    return [path for path in built if path][-1]


def in_turn(house, rounds, work):
    """Pairs of figures; who is first alternates."""
    pairs = []
    for number in range(rounds):
        order = house.servers if number % 2 == 0 else house.servers[::-1]
        seen = {server.name: work(server) for server in order}
        pairs.append(tuple(seen[server.name] for server in house.servers))
    return pairs


def bulk(house, _crowd, options, table):
    for cipher in (works.AES, works.CHACHA):
        for tunnels, name in ((1, "1 tunnel"), (8, "8 tunnels")):
            pairs = in_turn(house, options.rounds, lambda server: works.bulk(
                house, server, cipher, tunnels, 32 << 10, options.mebibytes * works.MIB))
            table.compare(f"{cipher.split('@')[0]}, {name}", pairs)


def small(house, _crowd, options, table):
    for cipher in (works.AES, works.CHACHA):
        for tunnels, name in ((1, "1 tunnel"), (8, "8 tunnels")):
            pairs = in_turn(house, min(options.rounds, 3), lambda server: works.bulk(
                house, server, cipher, tunnels, 100, options.mebibytes * works.MIB // 24))
            table.compare(f"{cipher.split('@')[0]}, {name}, 100 bytes each", pairs)


def latency(house, _crowd, options, table):
    pairs = in_turn(house, options.rounds, lambda server: works.latency(house, server, 1000))
    table.compare("round trip of 100 bytes", pairs)


def connect(house, _crowd, options, table):
    pairs = in_turn(house, options.rounds, lambda server: works.connects(house, server, 40))
    table.compare("connect + decided forward", pairs)


def opens(house, crowd, options, table):
    pairs = in_turn(house, options.rounds, lambda server: works.opens(house, server, crowd, 1))
    table.compare("forwards (sshd decides nothing)", pairs)


def memory(house, crowd, options, table):
    ours, theirs = house.servers
    few = options.sshd_sessions
    other = works.memory(house, theirs, crowd, [few])
    most = works.most_sessions(options.sessions)
    steps = sorted({min(1000, most), most})
    figures = works.memory(house, ours, crowd, steps)
    for (name, step), kibibytes in figures.items():
        words = f"memory of an {name}, {step} (the other: {few})" if step else f"memory of an {name}, after they went"
        asked = MEMORY_ASKED if step and "tunnel" in name else None
        beside = other[name, few]
        table.row("sessions", words, [kibibytes / beside], asked, [(kibibytes, beside)])


def crowd(house, crowd, options, table):
    # As many as wanted, as long as the gateway has files for them.
    count = min(options.sessions, FILES // 2)
    figures = works.crowded(house, house.servers[0], crowd, count)
    print()
    if figures["of them with a tunnel"] < options.sessions:
        print(f"{FILES} open files allowed (ulimit -Hn): not a tunnel for each of {options.sessions} sessions")
    for name, figure in figures.items():
        print(f"{name}: {figure:.5g}")
    return figures
