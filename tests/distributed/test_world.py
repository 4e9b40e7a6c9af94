"""The rows of each rank, and the collectives of a single process."""

from typing import NamedTuple

import torch
from torch import Tensor

from flowlab.distributed.world import SINGLE_PROCESS, World


class Pair(NamedTuple):
    x: Tensor
    context: Tensor | None


def test_rank_r_of_n_takes_row_r_and_every_nth_row_after_it():
    rows = torch.arange(7)
    shards = [World(rank, 3).shard(rows) for rank in range(3)]
    assert [shard.tolist() for shard in shards] == [[0, 3, 6], [1, 4], [2, 5]]


def test_all_tensors_of_a_batch_are_sharded_alike():
    batch = Pair(torch.arange(7), torch.arange(14).reshape(7, 2))
    shard = World(1, 3).shard(batch)
    assert isinstance(shard, Pair)
    assert shard.x.tolist() == [1, 4]
    assert shard.context.tolist() == [[2, 3], [8, 9]]


def test_a_batch_without_context_keeps_none():
    assert World(1, 2).shard(Pair(torch.arange(4), None)).context is None


def test_a_single_process_keeps_all_rows():
    rows = torch.arange(7)
    assert torch.equal(SINGLE_PROCESS.all_gather(SINGLE_PROCESS.shard(rows), 7), rows)
    assert torch.equal(SINGLE_PROCESS.all_reduce_mean(rows), rows)
    assert SINGLE_PROCESS.all_reduce_max(1, 2.5) == [1, 2.5]
    assert SINGLE_PROCESS.broadcast_from_rank_zero(lambda: "made") == "made"
