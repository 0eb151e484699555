"""One Solana URL over many endpoints: health, balancing, retries, hedging, cache, lasting subscriptions."""
