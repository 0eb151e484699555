"""Solana: RPC, WebSocket, transactions and signers."""
