"""Which partition a key is in."""

from aiokafka.partitioner import murmur2


def partition_of(key: bytes, partitions: int) -> int:
    """Return where every producer of ours puts a key: the clients' own rule (murmur2, as the Java client has it)."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
