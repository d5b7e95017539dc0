from hypothesis import given
from hypothesis import strategies as st

from darkroom.core.graphs import connected_groups


def test_groups_and_their_members_are_in_order():
    assert connected_groups(8, [(7, 2), (5, 1), (2, 4), (3, 3)]) == [[1, 5], [2, 4, 7]]
    assert connected_groups(0, []) == connected_groups(3, []) == []


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_groups_are_the_connected_components(graph):
    count, edges = graph
    component = {node: {node} for node in range(count)}
    for first, second in edges:
        merged = component[first] | component[second]
        component |= dict.fromkeys(merged, merged)
    expected = sorted({tuple(sorted(group)) for group in component.values() if len(group) > 1})
    assert [tuple(group) for group in connected_groups(count, edges)] == expected
