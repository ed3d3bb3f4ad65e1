"""Files through io_uring and through worker threads, alone and through the target, beside fio on the same file."""

import json
import os
import statistics
import subprocess
import sys
import tempfile

BYTES = 2 << 30
DEPTH = 32
# What io_uring has to reach: of fio's IOPS through the target, and of the worker threads' CPU time for a request.
WANTED_IOPS, WANTED_CPU = 0.90, 0.70


def fio(path, seconds):
    """IOPS and microseconds of CPU for a request."""
    out = subprocess.run(
        ["fio", "--name=yardstick", f"--filename={path}", "--ioengine=io_uring", "--direct=1", "--rw=randread",
         "--bs=4k", f"--iodepth={DEPTH}", f"--runtime={seconds:g}", "--time_based", "--output-format=json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True).stdout
    job = json.loads(out)["jobs"][0]
    return job["read"]["iops"], (job["usr_cpu"] + job["sys_cpu"]) * 1e4 / job["read"]["iops"]


def alone(program, path, ring, seconds):
    """The same of `qpair bench` on the file itself."""
    out = subprocess.run(
        [program, "bench", path, "--ring", ring, "--rw", "randread", "--qd", str(DEPTH), "--secs", str(seconds),
         "--json"],
        stdout=subprocess.PIPE, text=True, check=True).stdout
    report = json.loads(out)
    return report["total"]["iops"], report["cpu"]["us_per_io"]


def served(target, program, nqn, path, ring, seconds):
    """The same through the target: IOPS, and CPU of the serving side alone, its warm-up included."""
    with target(program, path, "--ring", ring) as server:
        before = server.cpu_seconds()
        out = subprocess.run(
            [program, "bench", f"nvme-tcp://127.0.0.1:{server.port}/{nqn}?ns=1", "--rw", "randread", "--qd", str(DEPTH),
             "--queues", "1", "--warmup", "0", "--secs", str(seconds), "--json"],
            stdout=subprocess.PIPE, text=True, check=True).stdout
        used = server.cpu_seconds() - before
    total = json.loads(out)["total"]
    return total["iops"], used * 1e6 / total["ios"]


def make_file(folder):
    """Written through, so that no read meets a hole or the page cache of a write."""
    path = os.path.join(folder, "disk.img")
    noise = os.urandom(1 << 20)
    with open(path, "wb") as file:
        for _ in range(BYTES // len(noise)):
            file.write(noise)
        file.flush()
        os.fsync(file.fileno())
    return path


def need_fio(script):
    try:
        subprocess.run(["fio", "--version"], stdout=subprocess.DEVNULL, check=True)
    except FileNotFoundError:
        sys.exit(f"{script}: the yardstick of files is fio: apt-get install fio")


def run(args, target, nqn):
    """Alternates all ways, round by round, and prints medians as Markdown."""
    need_fio("bench/run")
    with tempfile.TemporaryDirectory(prefix="qpair-bench-", dir=args.files) as folder:
        path = make_file(folder)
        ways = {
            "fio, io_uring": lambda: fio(path, args.secs),
            "uring": lambda: alone(args.program, path, "uring", args.secs),
            "portable": lambda: alone(args.program, path, "portable", args.secs),
            "uring, through the target": lambda: served(target, args.program, nqn, path, "uring", args.secs),
            "portable, through the target": lambda: served(target, args.program, nqn, path, "portable", args.secs),
        }
        found = {name: [] for name in ways}
        for number in range(args.rounds):
            for name, way in ways.items():
                iops, cpu = way()
                found[name].append((iops, cpu))
                print(f"round {number + 1}/{args.rounds}  {name:30} {iops:9.0f} IOPS  {cpu:6.2f} us",
                      file=sys.stderr, flush=True)
    table(found)


def table(found):
    rounds = list(found.values())
    print(f"4 KiB random reads, queue depth {DEPTH}, O_DIRECT\n")
    print("| | IOPS | of fio's | CPU for a request, us | range |")
    print("|---|---|---|---|---|")
    for name, figures in found.items():
        iops, cpu = ([figure[column] for figure in figures] for column in (0, 1))
        share = statistics.median(a[0] / b[0] for a, b in zip(figures, rounds[0]))
        print(f"| {name} | {statistics.median(iops):,.0f} | {share:.2f} "
              f"| {statistics.median(cpu):.2f} | {min(cpu):.2f} to {max(cpu):.2f} |")
    ratio = statistics.median(a[1] / b[1] for a, b in zip(found["uring"], found["portable"]))
    reached = statistics.median(a[0] / b[0] for a, b in zip(found["uring, through the target"], rounds[0]))
    print(f"\nThrough the target {reached:.2f} of fio's IOPS (to reach: {WANTED_IOPS:.2f}); "
          f"CPU of uring {ratio:.2f} of portable (at most {WANTED_CPU:.2f}).")
