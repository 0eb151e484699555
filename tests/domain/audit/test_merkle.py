"""The Merkle tree: our roots and proofs are those of RFC 6962, as an independent library computes them."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import (  # type: ignore[import-untyped] # the library ships no types
    InmemoryTree,
    MerkleProof,
    verify_consistency,
    verify_inclusion,
)

from domain.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    complete_subtrees,
    consistency_path,
    fold,
    inclusion_path,
    is_consistent,
    leaf_hash,
    node_hash,
    root_by_inclusion,
)

SIZES = sorted({size for power in range(9) for size in (2**power - 1, 2**power, 2**power + 1)} | {100, 300})
DATA = [sha256(str(number).encode()).digest() for number in range(600)]


def theirs(size: int) -> InmemoryTree:
    tree = InmemoryTree(algorithm="sha256")
    for data in DATA[:size]:
        tree.append_entry(data)
    return tree


def root(start: int, end: int) -> bytes:
    """By the definition, recursively."""
    if end - start == 1:
        return leaf_hash(DATA[start])
    middle = start + (1 << (end - start - 1).bit_length() - 1)
    return node_hash(root(start, middle), root(middle, end))


def ours(size: int) -> bytes:
    frontier = Frontier()
    frontier.extend(DATA[:size])
    return frontier.root()


def test_the_empty_tree_has_the_hash_of_nothing_as_its_root() -> None:
    assert ours(0) == EMPTY_ROOT == theirs(0).get_root()


@pytest.mark.parametrize("size", SIZES)
def test_roots_are_those_of_the_independent_library(size: int) -> None:
    assert ours(size) == theirs(size).get_root()


@pytest.mark.parametrize("size", [size for size in SIZES if size])
def test_inclusion_proofs_are_those_of_the_independent_library(size: int) -> None:
    """Path by path; and each convinces both our check and theirs."""
    tree = theirs(size)
    for index in {0, 1, size // 3, size // 2, size - 2, size - 1} & set(range(size)):
        path = [root(*span) for span in inclusion_path(index, size)]
        proof: MerkleProof = tree.prove_inclusion(index + 1, size)
        assert [leaf_hash(DATA[index]), *path] == proof.path
        verify_inclusion(leaf_hash(DATA[index]), tree.get_root(), proof)
        assert root_by_inclusion(leaf_hash(DATA[index]), index, size, path) == tree.get_root()


@pytest.mark.parametrize(
    ("older", "newer"), [*pairwise(SIZES[1:]), (1, 513), (3, 7), (6, 8), (100, 300), (256, 511)]
)
def test_consistency_proofs_convince_the_independent_library(older: int, newer: int) -> None:
    tree = theirs(newer)
    path = [root(*span) for span in consistency_path(older, newer)]
    old_root, new_root = tree.get_root(older), tree.get_root(newer)
    verify_consistency(old_root, new_root, tree.prove_consistency(older, newer))
    assert is_consistent(older, newer, old_root, new_root, path)
    assert not is_consistent(older, newer, new_root, new_root, path)
    assert not is_consistent(older, newer, old_root, old_root, path)
    if path:
        assert not is_consistent(older, newer, old_root, new_root, path[:-1])
        assert not is_consistent(older, newer, old_root, new_root, [*path, path[0]])


@given(st.lists(st.integers(0, 40), max_size=12))
def test_however_the_leaves_arrive_the_root_is_the_same(portions: list[int]) -> None:
    """Also when the frontier is stored and taken up again between any two portions."""
    frontier = Frontier()
    for portion in portions:
        frontier = Frontier(frontier.size, frontier.roots)
        frontier.extend(DATA[frontier.size : frontier.size + portion])
    assert frontier.size == sum(portions)
    assert frontier.root() == (root(0, frontier.size) if frontier.size else EMPTY_ROOT)


@given(st.integers(1, 500), st.data())
def test_a_proof_holds_for_its_own_leaf_place_and_size_alone(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = [root(*span) for span in inclusion_path(index, size)]
    leaf, whole = leaf_hash(DATA[index]), root(0, size)
    assert root_by_inclusion(leaf, index, size, path) == whole
    assert root_by_inclusion(leaf_hash(DATA[index + 1]), index, size, path) != whole
    other = data.draw(st.integers(0, size - 1).filter(lambda each: each != index)) if size > 1 else None
    if other is not None:
        assert root_by_inclusion(leaf, other, size, path) != whole
    assert root_by_inclusion(leaf, index, size, [*path, leaf]) is None
    assert root_by_inclusion(leaf, size, size, path) is None


@given(st.integers(1, 300), st.integers(1, 300))
def test_any_older_tree_is_shown_to_begin_any_newer_one(one: int, other: int) -> None:
    older, newer = sorted((one, other))
    path = [root(*span) for span in consistency_path(older, newer)]
    assert is_consistent(older, newer, root(0, older), root(0, newer), path)
    forged = [path[0][::-1], *path[1:]] if path else [bytes(32)]
    assert not is_consistent(older, newer, root(0, older), root(0, newer), forged)


@given(st.integers(1, 500))
def test_complete_subtrees_fold_to_the_root(size: int) -> None:
    assert fold([root(*span) for span in complete_subtrees((0, size))]) == root(0, size)


def test_a_frontier_with_other_roots_than_its_size_has_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        Frontier(3, [bytes(32)])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3)])
def test_a_leaf_that_is_not_there_is_not_proved(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_path(index, size)


@pytest.mark.parametrize(("older", "newer"), [(0, 3), (4, 3)])
def test_trees_that_cannot_begin_one_another_are_not_compared(older: int, newer: int) -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        consistency_path(older, newer)
    assert not is_consistent(older, newer, DATA[0], DATA[1], [])
