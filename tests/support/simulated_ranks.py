"""Ranks of a communicator as threads of this process, of which one runs at a time.

A rank runs until it waits for a message. If all wait, that is a deadlock, which is found at once.
"""

import linecache
import pickle
import random
import sys
import threading
from collections import defaultdict, deque

import numpy as np


class Outcome:
    """Holds the end of a rank: its value, its error, or the words "deadlock" or "aborted"."""

    def __init__(self):
        self.value = self.error = None
        self.ended = "running"


class World:
    """Holds what the ranks share: who runs, and the messages on their way."""

    def __init__(self, size, seed=0):
        self.size, self.choose = size, random.Random(seed)
        self.condition = threading.Condition()
        self.ready = {rank: lambda: True for rank in range(size)}  # of the ranks that live
        self.running, self.over = 0, ""
        self.messages = defaultdict(deque)
        self.gathered = defaultdict(dict)
        self.outcomes = [Outcome() for _ in range(size)]

    def wait(self, rank, ready):
        """Let others run until this rank is ready and chosen."""
        with self.condition:
            self.ready[rank] = ready
            self._pass_on()
            self.condition.wait_for(lambda: self.running == rank or self.over)
        if self.over:
            park()

    def leave(self, rank):
        with self.condition:
            del self.ready[rank]
            self._pass_on()
            self.condition.notify_all()

    def finish(self, words):
        """End all ranks: those that live are never heard of again."""
        with self.condition:
            for rank in self.ready:
                self.outcomes[rank].ended = words
            self.over = words
            self.condition.notify_all()

    def _pass_on(self):
        able = [rank for rank, ready in self.ready.items() if ready()]
        if able:
            self.running = self.choose.choice(able)
            self.condition.notify_all()
        elif self.ready:
            self.finish("deadlock")


def park():
    """Never return: the process would have ended."""
    sys.settrace(None)
    threading.Event().wait()


class Comm:
    """The methods of a communicator of mpi4py that training calls."""

    def __init__(self, world, rank):
        self.world, self.rank, self.size = world, rank, world.size
        self.collectives = 0

    def Isend(self, data, other, tag):
        self.world.messages[self.rank, other].append(np.array(data))
        return Request(lambda: None, self, lambda: True)

    def Irecv(self, data, other, tag):
        queue = self.world.messages[other, self.rank]

        def take():
            came = queue.popleft()
            assert (came.shape, came.dtype) == (data.shape, data.dtype), "another message"
            data[...] = came

        return Request(take, self, lambda: bool(queue))

    def allgather(self, value):
        self.collectives += 1
        slot = self.world.gathered[self.collectives]
        slot[self.rank] = pickle.dumps(value)
        self.world.wait(self.rank, lambda: len(slot) == self.size)
        return [pickle.loads(slot[rank]) for rank in range(self.size)]

    def Abort(self, code):
        self.world.finish("aborted")
        park()


class Request:
    def __init__(self, take, comm, ready):
        self.take, self.comm, self.ready = take, comm, ready

    def Test(self):
        self.comm.world.wait(self.comm.rank, self.ready)
        self.take()
        return True


def run(size, program, seed=0):
    """Run `program(comm)` on all ranks, and return their outcomes."""
    world = World(size, seed)

    def live(rank):
        outcome = world.outcomes[rank]
        with world.condition:
            world.condition.wait_for(lambda: world.running == rank or world.over)
        if world.over:
            park()
        try:
            outcome.value = program(Comm(world, rank))
            outcome.ended = "returned"
        except BaseException as error:
            outcome.error, outcome.ended = error, "raised"
        finally:
            sys.settrace(None)
        world.leave(rank)

    threads = [threading.Thread(target=live, args=[rank], daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    with world.condition:
        assert world.condition.wait_for(lambda: world.over or not world.ready, 60), "asleep"
    return world.outcomes


def at_line(k, files, act, inside):
    """Call `act()` in this thread before the k-th line of these files.

    Lines count inside a function of one of the files. None is between the two messages of a sum of
    gradients. Return a list, which will hold the line.
    """
    count, depth, found = 0, 0, []

    def local(frame, event, argument):
        nonlocal count, depth
        if event == "return" and frame.f_code.co_name == inside:
            depth -= 1
        if event == "line" and depth and not _between(frame):
            count += 1
            if count == k:
                found.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
                act()
        return local

    def trace(frame, event, argument):
        nonlocal depth
        if not frame.f_code.co_filename.endswith(files):
            return None
        depth += frame.f_code.co_name == inside
        return local

    sys.settrace(trace)
    return found


def _between(frame):
    return "workers.add(" in linecache.getline(frame.f_code.co_filename, frame.f_lineno)
