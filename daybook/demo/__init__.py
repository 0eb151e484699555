"""The demo: trade on a local Solana for a while, then prove the books."""
