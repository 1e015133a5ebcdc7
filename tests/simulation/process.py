"""One life of the gateway process: it may be killed wherever it touches the world outside."""

from tests.simulation.world import World


# No `Exception`: nothing in a process that was killed gets to handle it.
class Killed(BaseException):
    """The gateway process ended here."""


class Process:
    """Between a boot and a kill."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_dead = False

    def check(self) -> None:
        """What is dead does nothing more, not even in a `finally`."""
        if self.is_dead:
            raise Killed

    def may_die(self, where: str) -> None:
        """A point at which a kill leaves half of something behind."""
        self.check()
        if self.world.strikes("gateway killed"):
            self.world.reach(f"gateway killed {where}")
            self.is_dead = True
            raise Killed

    def pause(self, most_s: float) -> None:
        """Let others act, perhaps, and die with the process if they ended it."""
        self.check()
        if self.world.strikes("store slow"):
            self.world.pause(self.world.between(0.1, most_s))
        self.check()
