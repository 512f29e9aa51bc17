"""How many threads the numeric libraries of a process use."""


def worker_environment(threads: int) -> dict[str, str]:
    """Environment variables that limit every library; read when a process imports them."""
    names = [f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL")]
    limits = dict.fromkeys([*names, "TF_NUM_INTRAOP_THREADS"], str(threads))
    return {**limits, "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
