"""Connected components."""

from collections.abc import Iterable


def connected_groups(count: int, edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Groups of two or more of the nodes 0 to `count` - 1 that edges connect, directly or through other nodes.

    Each group is sorted, and the groups are in the order of their first nodes.
    """
    from scipy.cluster.hierarchy import DisjointSet

    nodes = DisjointSet(range(count))
    for first, second in edges:
        nodes.merge(first, second)
    return [sorted(group) for group in nodes.subsets() if len(group) > 1]
