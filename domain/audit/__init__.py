"""What makes the record provable: the Merkle tree over it, signed checkpoints, proofs, anchors."""
