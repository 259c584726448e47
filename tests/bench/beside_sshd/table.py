"""Ratios with their spread, as a table, and what was asked of them."""
import statistics

# (part, figure): least or most, and the bound: what a plain release reached, with some room for the spread.
ASKED = {
    ("aes256-gcm, 1 tunnel", "throughput up"): ("≥", 1.05),
    ("aes256-gcm, 1 tunnel", "throughput down"): ("≥", 1.15),
    ("aes256-gcm, 1 tunnel", "processor time per GiB up"): ("≤", 0.85),
    ("aes256-gcm, 1 tunnel", "processor time per GiB down"): ("≤", 0.65),
    ("aes256-gcm, 8 tunnels", "throughput up"): ("≥", 1.1),
    ("aes256-gcm, 8 tunnels", "throughput down"): ("≥", 1.05),
    ("aes256-gcm, 8 tunnels", "processor time per GiB up"): ("≤", 0.9),
    ("aes256-gcm, 8 tunnels", "processor time per GiB down"): ("≤", 0.7),
    ("chacha20-poly1305, 1 tunnel", "throughput down"): ("≥", 1.1),
    ("chacha20-poly1305, 1 tunnel", "processor time per GiB up"): ("≤", 0.8),
    ("chacha20-poly1305, 1 tunnel", "processor time per GiB down"): ("≤", 0.8),
    ("chacha20-poly1305, 8 tunnels", "throughput up"): ("≥", 1.1),
    ("chacha20-poly1305, 8 tunnels", "throughput down"): ("≥", 1.1),
    ("chacha20-poly1305, 8 tunnels", "processor time per GiB up"): ("≤", 0.85),
    ("chacha20-poly1305, 8 tunnels", "processor time per GiB down"): ("≤", 0.75),
    ("connect + decided forward", "processor time"): ("≤", 0.1),
    ("round trip of 100 bytes", "alone, p50"): ("≤", 1.3),
    ("round trip of 100 bytes", "beside bulk up, p50"): ("≤", 1.2),
    ("round trip of 100 bytes", "beside bulk up, p99"): ("≤", 0.8),
    ("round trip of 100 bytes", "beside bulk down, p50"): ("≤", 1.8),
    ("round trip of 100 bytes", "beside bulk down, p99"): ("≤", 0.8),
    ("forwards (sshd decides nothing)", "allowed and dialled, a second"): ("≥", 0.7),
    ("forwards (sshd decides nothing)", "allowed and dialled, processor time of each"): ("≤", 1.4),
    ("forwards (sshd decides nothing)", "refused, a second"): ("≥", 0.6),
    ("forwards (sshd decides nothing)", "refused, processor time of each"): ("≤", 1.8),
}
MEMORY_ASKED = ("≤", 0.05)


class Table:
    """Prints rows as they are known, and keeps them for `--json`."""

    def __init__(self, other, asked):
        self.rows, self.asked = [], ASKED if asked else {}
        print(f"| work | figure | portreeve / {other} | spread | asked |\n|---|---|---|---|---|", flush=True)

    def compare(self, work, rounds):
        """`rounds` are pairs of figures, portreeve's and the other's, of one round each."""
        for figure in rounds[0][0]:
            pairs = [(ours[figure], theirs[figure]) for ours, theirs in rounds if theirs[figure]]
            if pairs:
                self.row(work, figure, [ours / theirs for ours, theirs in pairs], self.asked.get((work, figure)), pairs)

    def row(self, work, figure, ratios, asked=None, pairs=()):
        median = statistics.median(ratios)
        spread = f"{shown(min(ratios))} to {shown(max(ratios))}" if len(ratios) > 1 else ""
        met, asked = None, asked if self.asked else None
        if asked:
            met = median <= asked[1] if asked[0] == "≤" else median >= asked[1]
        words = f"{asked[0]} {asked[1]}{'' if met else ', missed'}" if asked else ""
        print(f"| {work} | {figure} | **{shown(median)}** | {spread} | {words} |", flush=True)
        self.rows.append({
            "work": work, "figure": figure, "median": median, "min": min(ratios), "max": max(ratios),
            "asked": asked, "met": met, "pairs": pairs,
        })

    def missed(self):
        return [row for row in self.rows if row["met"] is False]


def shown(ratio):
    return f"{ratio:.3f}" if ratio < 0.2 else f"{ratio:.2f}"
