"""A local Solana: a LiteSVM ledger behind real JSON-RPC and WebSocket."""
