"""`python -m gateway.bench`: the command `gotunnel bench` by another name."""

from gateway.cli.bench import bench

if __name__ == "__main__":
    bench(prog_name="python -m gateway.bench")
