"""`python -m tests.simulation FIRST NUM`: run seeds and say what they reached."""

import sys
import time
from collections import Counter

from tests.simulation.run import run_seed


def main() -> int:
    """Run; 0 if all held."""
    first, num = int(sys.argv[1]), int(sys.argv[2])
    reached: Counter[str] = Counter()
    failed = num_jobs = most = 0
    began = time.process_time()
    for seed in range(first, first + num):
        story = run_seed(seed)
        reached.update(story.reached.keys())
        num_jobs += story.num_jobs
        most = max(most, story.most_passed_over)
        if story.failure:
            failed += 1
            sys.stdout.write(f"seed {seed}: {story.failure}\n")
    took = time.process_time() - began
    lines = [f"{number:6} {name}" for name, number in sorted(reached.items())]
    lines.append(f"{num} seeds, {failed} failed, {num_jobs} jobs, {took:.1f} s, passed over {most}")
    sys.stdout.write("\n".join([*lines, ""]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
