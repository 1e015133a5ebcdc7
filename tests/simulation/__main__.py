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
            say(f"{seed} {story.failure}")
    took = time.process_time() - began
    say(f"{num} seeds, {failed} failed, {num_jobs} jobs, {took:.1f} s, passed over {most}")
    for name, number in sorted(reached.items()):
        say(f"{number:6} {name}")
    return 1 if failed else 0


def say(text: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
